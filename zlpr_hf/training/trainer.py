"""ZLPRTrainer: transformers' Trainer with a multi-label loss that is exact under accumulation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.losses.registry import (
    as_multi_label_loss,
    build_loss,
    loss_class,
    loss_name,
    losses_with,
)
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.models.head import classification_head
from zlpr_hf.training.chunked_head import ChunkedHead
from zlpr_hf.training.head_rate import set_head_rate
from zlpr_hf.training.objective import Objective
from zlpr_hf.training.step_trainer import PADDING_BATCH, StepTrainer
from zlpr_hf.zlpr_config import ZLPRConfig


class ZLPRTrainer(StepTrainer):
    """Trainer that computes a multi-label loss from logits and targets.

    Targets are taken from ``labels``: bool, integer or floating, hard or soft, ``-100`` or NaN
    where unknown. The loss is summed over examples and divided by the number of examples of the
    whole optimizer step, on all processes: 8 x 1, 4 x 2 and 2 x 4 (batch x accumulation) give the
    same gradient, also for an uneven last step. Logits are cut at zero for the metrics.

    While it trains, classifiers of the BERT family compute of their last layer what they read, the
    first token: see :func:`zlpr_hf.models.first_token.first_token_only` before a loss of your own
    looks at hidden states. On a processor dropout, attention and memory are faster too
    (:func:`zlpr_hf.training.cpu_speedups.fast_training`).

    A step whose loss or gradients hold NaN or infinity is not taken: :meth:`train` ends with a
    ``FloatingPointError`` of one line that names the step, the training rows and the remedy.

    Args:
        *args: As for ``transformers.Trainer``.
        loss: A module called with ``(logits, targets)`` that returns ``(B,)`` or the mean over the
            batch; without it the one that ``args.loss`` names.
        **kwargs: As for ``transformers.Trainer``; without ``compute_metrics`` all multi-label
            metrics are computed.

    Example:
        >>> from zlpr_hf import LabelSpace, ZLPRTrainingArguments, load_model, load_tokenizer
        >>> name = "google-bert/bert-base-uncased"
        >>> tokenizer = load_tokenizer(name)
        >>> rows = [{**tokenizer("a small cat"), "labels": [1, 0]}] * 4
        >>> trainer = ZLPRTrainer(
        ...     model=load_model(name, LabelSpace(("small", "big"))),
        ...     args=ZLPRTrainingArguments(output_dir="out/small", num_train_epochs=1),
        ...     train_dataset=rows,
        ...     eval_dataset=rows,
        ...     processing_class=tokenizer,
        ... )
        >>> trainer.evaluate()["eval_hamming_loss"] <= 1
        True
    """

    def __init__(self, *args: Any, loss: nn.Module | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("compute_metrics", compute_trainer_metrics)
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is for a Trainer of your own; here give loss=MODULE"
            )
        arguments = kwargs.get("args") or (args[1] if len(args) > 1 else None)
        with _own_label_smoothing(arguments):
            super().__init__(*args, **kwargs)
        self.label_names = ["labels"]
        name = getattr(self.args, "loss", "zlpr")
        self.loss = self._build_loss(name) if loss is None else as_multi_label_loss(loss)
        self.loss.to(self.args.device)
        self._row_losses: list[Tensor] | None = None
        self._chunked_head: ChunkedHead | None = None
        if getattr(self.args, "large_label_space", False):
            self._chunked_head = self._build_chunked_head()
        if self.loss.label_sets is not None:
            self._prepare_for_label_sets(self.loss.label_sets)
        if self._option("rdrop_alpha") and not self.loss.has_divergence:
            raise ValueError(
                f"rdrop_alpha: needs a loss with a divergence ({losses_with('has_divergence')}), "
                f"got {loss_name(self.loss)}"
            )
        if self._option("rdrop_alpha") and not any(
            isinstance(module, nn.Dropout) and module.p > 0
            for module in self.model.modules()  # type: ignore[union-attr]
        ):
            warnings.warn(
                "rdrop_alpha compares two passes with different dropout, and this model has none: "
                "set hidden_dropout_prob or leave rdrop_alpha at 0",
                stacklevel=2,
            )
        self._describe_loss(self.model)

    def _describe_loss(self, model: Any) -> None:
        """Write into the model's configuration what its outputs are, for whoever loads it."""
        config: Any = getattr(model, "config", None)
        if config is not None:
            single = self.loss.predicts_label_sets
            config.problem_type = (
                "single_label_classification" if single else "multi_label_classification"
            )
            name, loss_kwargs = loss_name(self.loss), self.loss.loss_kwargs()
            ZLPRConfig.update(config, loss=name, loss_kwargs=loss_kwargs)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Make the model of a trial; what knew the model before it is told."""
        model: nn.Module = super().call_model_init(trial)
        if "loss" in self.__dict__:  # else it is the first one, which `__init__` goes on with
            self._describe_loss(model)
            if self._chunked_head is not None:
                self._chunked_head.head = classification_head(model)  # type: ignore[arg-type]
        return model

    def _option(self, name: str) -> float:
        """An argument of ours, 0 where the arguments are transformers' own."""
        return float(getattr(self.args, name, 0.0))

    def _build_loss(self, name: str) -> MultiLabelLoss:
        columns = getattr(self.train_dataset, "column_names", None) or ()
        targets = None
        if loss_class(name).needs_train_targets and "labels" in columns:
            targets = np.asarray(self.train_dataset["labels"][:], dtype=np.float32)  # type: ignore[index]
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
        """No logits of all labels anywhere: evaluation sees the best ones of each row."""
        if not self.loss.supports_large_label_space:
            names = losses_with("supports_large_label_space")
            raise ValueError(f"large_label_space: expected {names}, got {loss_name(self.loss)}")
        head = classification_head(self.accelerator.unwrap_model(self.model))
        chunked = ChunkedHead(head, evaluated_labels=int(self._option("evaluated_labels")))
        self.preprocess_logits_for_metrics: Any = chunked.best
        if self.compute_metrics is compute_trainer_metrics:
            self.compute_metrics = chunked.compute_metrics
        return chunked

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Loss of a batch, as its share of the mean over the whole optimizer step.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch with ``labels`` ``(B, L)``.
            return_outputs: Whether to return the model's outputs too.
            num_items_in_batch: Number of examples in the step; None for this batch alone.

        Returns:
            The loss, or the loss and the outputs.

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
        if self._chunked_head is not None:
            outputs, value = self._chunked_head.run(model, inputs, targets)
            self._keep(model, value, len(targets))
            loss = self._share_of_step(value.sum() * counts, len(targets), num_items_in_batch)
            return (loss, outputs) if return_outputs else loss
        teacher_logits = inputs.pop("teacher_logits", None)
        objective = Objective(
            self.loss,
            self._option("label_smoothing_factor"),
            getattr(self.args, "label_smoothing_mode", "mass_preserving"),
            self._option("rdrop_alpha"),
            self._option("distillation_alpha"),
        )
        outputs, values, total = objective.compute(model, inputs, targets, teacher_logits)
        self._keep(model, values, len(targets))
        loss = self._share_of_step(total * counts, len(targets), num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _keep(self, model: nn.Module, value: Tensor, rows: int) -> None:
        """Keep the losses of evaluated rows, none twice where the last batch is filled up."""
        if self._row_losses is not None and not model.training:
            losses = value.detach().float().expand(rows).contiguous()
            self._row_losses.append(self.accelerator.gather_for_metrics(losses))

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # The stock sampler shuffles evaluation rows under group_by_length, and so the predictions.
        if self.args.world_size <= 1:
            return torch.utils.data.SequentialSampler(eval_dataset)
        return None

    def prediction_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Evaluate in full precision: decisions near zero must be those of the saved model."""
        with _without_autocast(self.accelerator.unwrap_model(model)):
            return super().prediction_step(model, *args, **kwargs)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As in transformers; the loss is the mean over rows and not over batches."""
        self._row_losses = []
        try:
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

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Give the parameters outside the encoder a learning rate of their own."""
        made_here = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = getattr(self.args, "head_learning_rate", None)
        if not made_here or rate is None:
            return optimizer
        module: Any = self.accelerator.unwrap_model(model if model is not None else self.model)
        set_head_rate(optimizer, module, rate)
        return optimizer

    def _report_to_hp_search(self, trial: Any, step: int, metrics: dict[str, float]) -> None:
        """Compare trials by epochs: with another batch size an epoch has other steps."""
        if self.args.eval_strategy == "epoch":
            step = round(self.state.epoch or 0)
        super()._report_to_hp_search(trial, step, metrics)


@contextmanager
def _own_label_smoothing(arguments: Any) -> Iterator[None]:
    """Keep transformers from warning that it cannot smooth several labels: here it is done."""
    factor = getattr(arguments, "label_smoothing_factor", 0.0)
    if factor:
        arguments.label_smoothing_factor = 0.0
    try:
        yield
    finally:
        if factor:
            arguments.label_smoothing_factor = factor


@contextmanager
def _without_autocast(model: Any) -> Iterator[None]:
    """Undo accelerate's autocast wrapper around ``forward`` for a while."""
    wrapped = model.__dict__.get("forward")
    original = model.__dict__.get("_original_forward")
    if wrapped is None or original is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = wrapped


def compute_trainer_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Multi-label metrics of logits cut at zero, in the form that ``Trainer`` asks for."""
    return compute_multi_label_metrics(prediction.predictions, prediction.label_ids)
