"""ZLPRTrainer: transformers' Trainer with a multi-label loss that is exact under accumulation."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from zlpr_hf.breakdown import Breakdown, find_breakdown, find_rows, merge_breakdowns
from zlpr_hf.checkpoints import find_damage, remove_old_checkpoints
from zlpr_hf.chunked_head import ChunkedHead
from zlpr_hf.data.loaders import build_streamed_loader, share_batches
from zlpr_hf.data.sampler import EpochLengthGroupedSampler, SharedBatchSampler
from zlpr_hf.data.streaming import StreamedRows
from zlpr_hf.head_rate import set_head_rate
from zlpr_hf.losses import LOSSES, MultiLabelLoss, PowersetLoss, ZLPRLoss, build_loss
from zlpr_hf.metrics import compute_multi_label_metrics
from zlpr_hf.modeling import classification_head
from zlpr_hf.objective import Objective

SPARE = "spare"
"""Marks a batch that a process computes only because the others have one."""


class ZLPRTrainer(Trainer):
    """Trainer that computes a multi-label loss from logits and targets.

    Targets are taken from ``labels``: bool, integer or floating, hard or soft, ``-100`` or NaN
    where unknown. The loss is summed over examples and divided by the number of examples of the
    whole optimizer step, on all processes: 8 x 1, 4 x 2 and 2 x 4 (batch x accumulation) give the
    same gradient, also for an uneven last step. Logits are cut at zero for the metrics.

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
        # The loss is divided by the examples of the whole step (see `_get_num_items_in_batch`).
        self.loss_is_scaled_for_ga = True
        name = getattr(self.args, "loss", "zlpr")
        self.loss = loss if loss is not None else self._build_loss(name)
        self.loss.to(self.args.device)
        self._batches: list[dict[str, Any]] = []
        self._shared_batches: SharedBatchSampler | None = None
        self._row_losses: list[Tensor] | None = None
        self._chunked_head: ChunkedHead | None = None
        if getattr(self.args, "large_label_space", False):
            self._chunked_head = self._build_chunked_head()
        if isinstance(self.loss, PowersetLoss):
            self._prepare_for_label_sets(self.loss)
        if self._option("rdrop_alpha") and not isinstance(self.loss, ZLPRLoss):
            raise ValueError(
                f"rdrop_alpha: its divergence belongs to ZLPRLoss, got {type(self.loss).__name__}"
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
            single = isinstance(self.loss, PowersetLoss)
            config.problem_type = (
                "single_label_classification" if single else "multi_label_classification"
            )
            stored = getattr(config, "zlpr", None) or {}
            config.zlpr = stored | {"loss": name_of(self.loss)}

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
        if hasattr(LOSSES.get(name), "fit") and "labels" in columns:
            targets = np.asarray(self.train_dataset["labels"][:], dtype=np.float32)  # type: ignore[index]
        return build_loss(name, reduction="none", train_targets=targets)

    def _prepare_for_label_sets(self, loss: PowersetLoss) -> None:
        """Outputs are label sets: check their number, and hand the scores of labels to metrics."""
        outputs = getattr(getattr(self.model, "config", None), "num_labels", len(loss.members))
        if outputs != len(loss.members):
            raise ValueError(
                f"loss powerset needs a model with one output a label set ({len(loss.members)}), "
                f"got {outputs}; load it with load_model(..., label_sets=loss.label_sets)"
            )
        self.preprocess_logits_for_metrics = lambda logits, labels: loss.label_scores(logits)

    def _build_chunked_head(self) -> ChunkedHead:
        """No logits of all labels anywhere: evaluation sees the best ones of each row."""
        if not isinstance(self.loss, ZLPRLoss):
            raise ValueError(
                f"large_label_space needs the loss ZLPRLoss, got {type(self.loss).__name__}"
            )
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
        counts = not inputs.pop(SPARE, False)
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

    def _share_of_step(
        self, total: Tensor, rows: int, num_items_in_batch: Tensor | int | None
    ) -> Any:
        # One, or NaN where the loss is not finite: then neither are its gradients, on any process.
        total = total * (1 + 0 * total.detach())
        if num_items_in_batch is None:
            return total / rows
        # Gradients are averaged over processes, the count is over all of them.
        return total / num_items_in_batch * self.accelerator.num_processes

    def _get_num_items_in_batch(
        self, batch_samples: list[Any], device: torch.device
    ) -> Tensor | int | None:
        """Number of examples in the batches of one optimizer step, over all processes."""
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        rows = sum(len(batch["labels"]) for batch in batch_samples if SPARE not in batch)
        count = torch.tensor(rows, device=device)
        return self.accelerator.gather(count).sum()  # type: ignore[no-any-return]

    def get_train_dataloader(self) -> Any:
        """Batches of training; several processes share those that a single one would take."""
        self._shared_batches = None
        rows: Any = self.train_dataset
        if isinstance(rows, StreamedRows):
            size = self._train_batch_size
            return build_streamed_loader(rows, self.data_collator, size, self.args)
        loader = super().get_train_dataloader()
        self._shared_batches = share_batches(loader)
        return loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> Any:
        """Batches of one optimizer step; one without a row of this process is marked.

        They are kept until the next step, to find out what went wrong.
        """
        found = super().get_batch_samples(map(self._marked, epoch_iterator), num_batches, device)
        self._batches = found[0]
        return found

    def _marked(self, batch: Any) -> Any:
        shared = self._shared_batches
        last = self.accelerator.gradient_state.end_of_dataloader
        if last and shared is not None and shared.ends_without_a_row:
            batch[SPARE] = True
        return batch

    def _finalize_training(self, *args: Any) -> Any:
        # What was not logged is the loss of this process alone.
        self._tr_loss = self.accelerator.reduce(self._tr_loss, "mean")
        return super()._finalize_training(*args)  # type: ignore[no-untyped-call]

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """The norm of the step's gradients, which must be a number before the step is taken."""
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        # Asked for once a step; transformers' logging_nan_inf_filter asks twice a batch.
        if norm is None or math.isfinite(norm):
            return norm
        scaler = self.accelerator.scaler
        if scaler is not None and scaler.get_scale() >= 1:
            return norm  # float16 overflowed: the step is skipped, and the next scaled less
        raise FloatingPointError(merge_breakdowns(gather_object([self._find_breakdown()])).render())

    def _find_breakdown(self) -> Breakdown:
        loader: Any = self.callback_handler.train_dataloader
        rows = find_rows(loader, self._batches, epoch=self.state.epoch or 0.0)
        dataset: Any = self.train_dataset
        if rows is not None:
            named = "row" in (getattr(dataset, "column_names", None) or ())
            rows = [[dataset[i]["row"] if named else i + 1 for i in batch] for batch in rows]
        model: Any = self.model

        def run(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
            with self.compute_loss_context_manager():
                loss, outputs = self.compute_loss(model, batch, return_outputs=True)
            return loss, outputs.logits

        return find_breakdown(
            [self._prepare_inputs(batch) for batch in self._batches],
            rows,
            run,
            step=self.state.global_step + 1,
            weights=model.parameters(),
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        columns += [name for name in ("label_values", "teacher_logits") if name not in columns]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # Of the one that is passed the lengths have been taken out, as a column no model reads.
        dataset: Any = self.train_dataset
        column = self.args.length_column_name
        grouped = self.args.train_sampling_strategy == "group_by_length"
        if not grouped or column not in (getattr(dataset, "column_names", None) or ()):
            return super()._get_train_sampler(train_dataset)
        return EpochLengthGroupedSampler(
            self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size,
            lengths=dataset[column],
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )

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

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint that is whole or gone: none of its files is one of an earlier run's."""
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        # The stock trainer removes old ones file by file: one that is cut there looks like another.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        except Exception:  # a full disk: the older ones are still there
            if self.args.should_save and find_damage(folder, only_model=self.args.save_only_model):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            remove_old_checkpoints(folder.parent, limit, self.state.best_model_checkpoint)

    def _save_rng_state(self, output_dir: str) -> None:
        """Save it, and wait: the state that makes the checkpoint whole comes after all of them."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the model; beside an adapter its configuration, which is where the labels are."""
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        # A pickle that nobody reads again, with the token for the Hub in it.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        if hasattr(self.model, "peft_config"):
            config: Any = self.model.config  # type: ignore[union-attr]
            config.save_pretrained(folder)


def name_of(loss: nn.Module) -> str:
    """The name of a loss in :data:`zlpr_hf.losses.LOSSES`, or of its class if it is none of them.

    Args:
        loss: A module.
    """
    names = (name for name, kind in LOSSES.items() if type(loss) is kind)
    return next(names, type(loss).__name__)


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
