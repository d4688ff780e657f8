"""ZLPRTrainer: transformers' Trainer with a multi-label loss that is exact under accumulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer
from transformers.trainer_utils import EvalLoopOutput

from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import (
    as_multi_label_loss,
    build_loss,
    loss_class,
    loss_name,
)
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.models.autocast import without_autocast
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_bias import fold_stored_offsets
from zlpr_hf.models.pad_token import match_pad_token
from zlpr_hf.models.probe import without_padding
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.training.arguments import check_evaluation_options, without_label_smoothing
from zlpr_hf.training.callbacks import LossOfRun
from zlpr_hf.training.checkpoints import find_whole_checkpoint
from zlpr_hf.training.chunked_head import ChunkedHead
from zlpr_hf.training.cpu_speedups import speed_up_training
from zlpr_hf.training.dataloaders import check_labels
from zlpr_hf.training.objective import Objective, check_added_losses, mean_row_weight
from zlpr_hf.training.step_trainer import PADDING_BATCH, StepTrainer, columns_of
from zlpr_hf.training.text_rows import RowEncoder, check_tokenised, is_stock_collator

POSITIONAL_ARGUMENTS = tuple(signature(Trainer).parameters)[2:]
"""Names of the arguments of ``Trainer`` after ``model`` and ``args``."""


class ZLPRTrainer(StepTrainer):
    """Trainer that computes a multi-label loss from logits and targets.

    Rows may hold texts and label names: columns ``text`` (``text_pair`` for pairs) and ``labels``
    or ``label``, in a ``datasets.Dataset``, a data frame or a list of dictionaries. Texts are cut
    at ``processing_class.model_max_length``, labels follow ``model.config.id2label``: lists of
    names, single names, one number per label, or lists of ids. Tokenised rows stay as they are.

    Targets are taken from ``labels``: bool, integer or floating, hard or soft, ``-100`` or NaN
    where unknown. The loss is summed over examples and divided by the number of examples of the
    whole optimizer step, on all processes: 8 x 1, 4 x 2 and 2 x 4 (batch x accumulation) give the
    same gradient, also for an uneven last step, unless the texts of a batch are compared
    (``sigmoid_f1``, ``two_way``, ``contrastive_alpha``). Metrics cut logits at zero.

    Training changes the model and nothing else. With ``cpu_speedups=True`` in the arguments, the
    model's dropout and attention modules are replaced while it trains, and the last layer of
    classifiers of the BERT family skips unused tokens: its ``last_hidden_state`` then holds the
    first token alone.

    A column ``row_weight`` of the training rows, numbers of 0 or more, weighs each row in the loss,
    relative to the mean of the column.

    Offsets stored in the model's configuration are folded into its bias, as
    :class:`zlpr_hf.Classifier` does, and stored limits on the number of labels apply to metrics.
    Training replaces the loss, thresholds and label sets that an earlier training stored there;
    evaluation leaves them as they are. The tokenizer in ``processing_class`` takes the pad token
    of the model.

    A step whose loss or gradients hold NaN or infinity is not taken: :meth:`train` raises a
    ``FloatingPointError`` of one line that names the step, the training rows and the remedy.

    Args:
        model: As for ``transformers.Trainer``.
        args: Usually :class:`zlpr_hf.ZLPRTrainingArguments`. Training never changes them;
            a search sets the options of its trials.
        *more: As for ``transformers.Trainer``.
        loss: A module called with ``(logits, targets)`` that returns ``(B,)`` or the mean over the
            batch (default: the loss named by ``args.loss``).
        **kwargs: As for ``transformers.Trainer``. ``compute_metrics`` computes all multi-label
            metrics by default; one of your own gets logits ``(N, L)`` and targets ``(N, L)`` in
            float32, with NaN or ``-100`` where a label is unknown.

    Example:
        >>> from zlpr_hf import ZLPRTrainingArguments, load_model, load_tokenizer
        >>> name = "google-bert/bert-base-uncased"
        >>> rows = [{"text": "a small cat", "labels": ["small"]}, {"text": "a cat", "labels": []}]
        >>> trainer = ZLPRTrainer(
        ...     model=load_model(name, ["small", "big"]),
        ...     args=ZLPRTrainingArguments(output_dir="out/small", num_train_epochs=1),
        ...     train_dataset=rows,
        ...     eval_dataset=rows,
        ...     processing_class=load_tokenizer(name),
        ... )
        >>> trainer.evaluate()["eval_hamming_loss"] <= 1
        True
    """

    _objective: Objective | ChunkedHead | None = None
    _training: ExitStack | None = None
    _by_length: Any = None

    def __init__(
        self,
        model: Any = None,
        args: Any = None,
        *more: Any,
        loss: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs = dict(zip(POSITIONAL_ARGUMENTS, more, strict=False)) | kwargs
        own_metrics = "compute_metrics" not in kwargs
        if own_metrics:
            kwargs["compute_metrics"] = self._compute_metrics
            check_evaluation_options(args)
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is for a Trainer of your own; here give loss=MODULE"
            )
        super().__init__(model, without_label_smoothing(args), **kwargs)
        if args is not None:
            self._restore_arguments(args)
        self.label_names = ["labels"]
        self._take_rows(kwargs.get("data_collator"))
        name = getattr(self.args, "loss", "zlpr")
        self.loss = self._build_loss(name) if loss is None else as_multi_label_loss(loss)
        self.loss.to(self.args.device)
        if kwargs.get("data_collator") is None:
            collator = check_labels(self.data_collator, self.loss, self.model, self.args)
            self.data_collator = collator
            for each in ("train_dataset", "eval_dataset"):
                check_tokenised(getattr(self, each), each, collator)
        self._row_losses: list[Tensor] | None = None
        self._take_model(self.model)
        large = getattr(self.args, "large_label_space", False)
        weight = mean_row_weight(self.train_dataset, self.loss, large_label_space=large)
        if large:
            self._objective = chunked = self._build_chunked_head()
            if own_metrics:
                self.compute_metrics = chunked.compute_metrics
        else:
            self._objective = Objective(self.loss, self.args, self.row_inputs, weight)
        if self.loss.label_sets is not None:
            self._prepare_for_label_sets(self.loss.label_sets)
        check_added_losses(self.loss, self.model, self.args)
        self.add_callback(LossOfRun(self.loss, self.args))

    def _take_rows(self, collator: Any) -> None:
        """Tokenise rows of texts, unless a collator of the user does so."""
        self._encode_rows: Callable[[Any, str], Any] = lambda rows, name: rows
        if collator is None or is_stock_collator(collator):
            self._encode_rows = RowEncoder(self.model, self.processing_class, self.args)
        self.train_dataset: Any = self._encode_rows(self.train_dataset, "train_dataset")
        self.eval_dataset: Any = self._encode_rows(self.eval_dataset, "eval_dataset")
        self.row_inputs |= {*columns_of(self.train_dataset)}

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate as ``Trainer.evaluate`` does; the rows may be texts with label names."""
        return super().evaluate(self._encode_rows(eval_dataset, "eval_dataset"), *args, **kwargs)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict as ``Trainer.predict`` does; the rows may be texts, with or without labels."""
        return super().predict(self._encode_rows(test_dataset, "test_dataset"), *args, **kwargs)

    def _restore_arguments(self, given: Any) -> None:
        """Take the user's own arguments back, with the changes of transformers to the copy."""
        smoothing = getattr(given, "label_smoothing_factor", 0.0)
        vars(given).update(vars(self.args) | {"label_smoothing_factor": smoothing})
        self.args = given

    def _take_model(self, model: Any) -> None:
        """Fold offsets, match the pad token, refuse label sets that are not those of the loss."""
        config: Any = getattr(model, "config", None)
        if config is None:
            return
        if isinstance(self.processing_class, PreTrainedTokenizerBase):
            match_pad_token(self.processing_class, config)
        stored = LabelSets.from_config(config)
        if stored is not None and stored != self.loss.label_sets:
            raise ValueError(
                f"the outputs of the model are label sets, other than those of the loss "
                f"{loss_name(self.loss)}; load the model with load_model(..., loss=..., "
                "label_sets=loss.label_sets), or evaluate it with Classifier"
            )
        fold_stored_offsets(model)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as ``Trainer.train`` does; see ``cpu_speedups`` for faster training.

        With ``resume_from_checkpoint=True`` the run resumes from the newest complete checkpoint.
        """
        if resume_from_checkpoint is True:
            only_model = self.args.save_only_model
            found = find_whole_checkpoint(Path(str(self.args.output_dir)), only_model=only_model)
            resume_from_checkpoint = True if found is None else str(found)
        with ExitStack() as self._training:
            if self.model_init is None:
                self._speed_up(self.model)
            try:
                return super().train(resume_from_checkpoint, *args, **kwargs)
            finally:
                self._training = None

    def _speed_up(self, model: Any) -> None:
        if self._training is not None and getattr(self.args, "cpu_speedups", False):
            limit: int | None = getattr(self.processing_class, "model_max_length", None)
            on_cpu = self.args.device.type == "cpu"
            self._training.enter_context(speed_up_training(model, on_cpu=on_cpu, max_length=limit))

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Make the model of a trial."""
        model: nn.Module = super().call_model_init(trial)
        if self._objective is not None:  # else `__init__` does so later
            self._take_model(model)
        if isinstance(self._objective, ChunkedHead):
            self._objective.head = classification_head(model)  # type: ignore[arg-type]
        self._speed_up(model)
        return model

    def _build_loss(self, name: str) -> MultiLabelLoss:
        columns = getattr(self.train_dataset, "column_names", None) or ()
        targets = None
        if loss_class(name).needs_train_targets and "labels" in columns:
            targets = np.asarray(self.train_dataset["labels"][:], dtype=np.float32)
        loss_kwargs = getattr(self.args, "loss_kwargs", {})
        return build_loss(name, reduction="none", train_targets=targets, **loss_kwargs)

    def _prepare_for_label_sets(self, label_sets: LabelSets) -> None:
        """Check the number of outputs, and compute metrics from the scores of labels."""
        expected = len(label_sets.sets)
        outputs = getattr(getattr(self.model, "config", None), "num_labels", expected)
        if outputs != expected:
            raise ValueError(
                f"loss {loss_name(self.loss)} needs a model with one output per label set "
                f"({expected}), got {outputs}; load it with load_model(..., label_sets=...)"
            )
        self.preprocess_logits_for_metrics = lambda logits, labels: self.loss.label_scores(logits)

    def _build_chunked_head(self) -> ChunkedHead:
        """Evaluate the best labels of each row, so that no logits of all labels are held."""
        evaluated: int = self.args.evaluated_labels  # type: ignore[attr-defined]
        model = self.accelerator.unwrap_model(self.model)
        chunked = ChunkedHead.from_model(model, self.loss, evaluated_labels=evaluated)
        self.preprocess_logits_for_metrics: Any = chunked.best
        return chunked

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch as its share of the mean over the whole optimizer step.

        ``inputs`` need ``labels`` ``(B, L)``; ``num_items_in_batch`` is the number of examples in
        the step, or None for this batch alone.

        Raises:
            ValueError: If the batch has no ``labels``.
        """
        # The model must not see the labels, and the caller's batch must keep them.
        inputs = dict(inputs)
        targets = inputs.pop("labels", None)
        counts = not inputs.pop(PADDING_BATCH, False)
        if targets is None:
            raise ValueError(
                f"the batch has no 'labels', only {', '.join(inputs)}; expected multi-hot (B, L)"
            )
        objective: Any = self._objective
        found = objective.compute(model, inputs, targets)
        self._keep(model, found.values, len(targets))
        loss = self._share_of_step(found.total * counts, len(targets), num_items_in_batch)
        return (loss, found.outputs) if return_outputs else loss

    def _keep(self, model: nn.Module, values: Tensor, rows: int) -> None:
        """Keep the losses of evaluated rows, without those that fill up the last batch."""
        if self._row_losses is not None and not model.training:
            losses = values.detach().float().expand(rows).contiguous()
            self._row_losses.append(self.accelerator.gather_for_metrics(losses))

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # Under group_by_length the stock sampler shuffles evaluation rows and predictions.
        if self.args.world_size <= 1:
            return torch.utils.data.SequentialSampler(eval_dataset)
        return None

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Evaluate in full precision: decisions near zero must be those of the saved model."""
        with ExitStack() as stack:
            stack.enter_context(without_autocast(self.accelerator.unwrap_model(model)))
            if isinstance(self._objective, ChunkedHead) and "labels" not in inputs:
                stack.enter_context(self._objective.features())  # transformers runs the model
            model = self._by_length or model
            loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        # Further outputs, such as hidden states, have other sizes in each batch.
        return loss, logits[0] if isinstance(logits, tuple) else logits, labels

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Evaluate as transformers does; the loss is the mean over rows and not over batches."""
        self._row_losses = []
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):  # all processes call as often
            plain = self.accelerator.unwrap_model(self.model)
            self._by_length = without_padding(plain, self.processing_class)
        try:
            with self.averaged_weights():
                output = super().evaluation_loop(
                    dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
                )
            metrics: Any = output.metrics
            name = f"{metric_key_prefix}_loss"
            if name in metrics and self._row_losses:
                metrics[name] = torch.cat(self._row_losses).double().mean().item()
        finally:
            self._row_losses = None
        return output

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return the metrics of logits cut at zero, and of stored limits on the labels per row."""
        limits = Thresholds.from_config(getattr(self.model, "config", None))
        decided = limits.apply(prediction.predictions)
        return compute_multi_label_metrics(
            prediction.predictions, prediction.label_ids, predictions=decided
        )

    def _report_to_hp_search(self, trial: Any, step: int, metrics: dict[str, float]) -> None:
        # Trials are compared by epochs; with another batch size an epoch has other steps.
        if self.args.eval_strategy == "epoch":
            step = round(self.state.epoch or 0)
        super()._report_to_hp_search(trial, step, metrics)
