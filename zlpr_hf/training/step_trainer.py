"""StepTrainer: optimizer steps that are the same however their rows are dealt out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.training.checkpoint_trainer import CheckpointTrainer
from zlpr_hf.training.cpu_speedups import fast_training
from zlpr_hf.training.dataloaders import build_streamed_loader, share_batches
from zlpr_hf.training.nonfinite import (
    NonFiniteStep,
    diagnose_nonfinite_step,
    find_rows,
    merge_nonfinite_steps,
)
from zlpr_hf.training.sampler import EpochLengthGroupedSampler, SharedBatchSampler

PADDING_BATCH = "spare"
"""Marks a batch that a process computes only because the others have one."""


class StepTrainer(CheckpointTrainer):
    """Trainer whose step is the mean over its rows, over batches and processes, or is not taken.

    Several processes share the batches that a single one would take; rows of like length are
    grouped by seed and epoch alone. A step that is not finite ends training with its rows and the
    remedy. While it trains, :func:`zlpr_hf.training.cpu_speedups.fast_training` holds, for texts as
    long as the tokenizer allows. A subclass returns ``_share_of_step`` of its loss from
    ``compute_loss``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The loss is divided by the examples of the whole step (see `_get_num_items_in_batch`).
        self.loss_is_scaled_for_ga = True
        self._batches: list[dict[str, Any]] = []
        self._shared_batches: SharedBatchSampler | None = None

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        model: Any = self.model
        limit: int | None = getattr(self.processing_class, "model_max_length", None)
        with fast_training(model, on_cpu=self.args.device.type == "cpu", max_length=limit):
            return super()._inner_training_loop(*args, **kwargs)

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
        rows = sum(len(batch["labels"]) for batch in batch_samples if PADDING_BATCH not in batch)
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
            batch[PADDING_BATCH] = True
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
        raise FloatingPointError(
            merge_nonfinite_steps(gather_object([self._diagnose_nonfinite_step()])).render()
        )

    def _diagnose_nonfinite_step(self) -> NonFiniteStep:
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

        return diagnose_nonfinite_step(
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
