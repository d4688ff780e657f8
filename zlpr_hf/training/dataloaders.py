"""Batches of training: their order, their share per process, and loaders of streamed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, prepare_data_loader
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Sampler
from transformers import TrainingArguments, default_data_collator
from transformers.trainer_pt_utils import LengthGroupedSampler

from zlpr_hf.data.in_memory import CLASS_IDS
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.data.targets import padded_ids
from zlpr_hf.errors import InputError
from zlpr_hf.labels import IGNORE_INDEX
from zlpr_hf.losses.base import MultiLabelLoss


@dataclass(frozen=True)
class CheckedCollator:
    """The collator of transformers, for rows whose labels are one number per label.

    Args:
        collate: The collator that transformers chooses.
        num_labels: Number of labels, ``L``; None if it is not known.
        as_ids: Labels are ids, for a large label space; they are filled up with ``-100``.
    """

    collate: Callable[[list[Any]], dict[str, Any]]
    num_labels: int | None
    as_ids: bool

    @property
    def pads_nothing(self) -> bool:
        """Whether rows of a batch must have one length."""
        return self.collate is default_data_collator

    def __call__(self, features: list[Any]) -> dict[str, Any]:
        if self.pads_nothing:
            check_equal_lengths(features, "a batch")
        if not isinstance(features[0], Mapping) or "labels" not in features[0]:
            return self.collate(features)
        labels = [self.check(row["labels"]) for row in features]
        others = [{key: row[key] for key in row if key != "labels"} for row in features]
        targets = (
            torch.from_numpy(padded_ids([each.tolist() for each in labels]))
            if self.as_ids
            else torch.stack([each.float() for each in labels])
        )
        return {**self.collate(others), "labels": targets}

    def check(self, labels: Any) -> Tensor:
        """Refuse names, single numbers and ragged lists; return numbers, or ids without padding."""
        try:
            values = torch.as_tensor(labels)
        except (RuntimeError, TypeError, ValueError):  # names, text, None
            values = torch.tensor(0.0)
        if not self.as_ids and values.ndim == 1 and self.num_labels in (None, len(values)):
            return values
        ids = values[values != IGNORE_INDEX]
        whole = not len(ids) or not (ids.is_floating_point() or ids.dtype == torch.bool)
        if self.as_ids and values.ndim == 1 and whole and len(set(ids.tolist())) == len(ids):
            return ids.long()  # a multi-hot row would repeat them
        numbers = f"{self.num_labels or 'L'} numbers, one per label (0 or 1, a probability, NaN)"
        raise InputError(
            f"labels: expected a list of {'different ids' if self.as_ids else numbers}, got "
            f"{labels!r:.60}; {self._remedy(labels, values)}"
        )

    def _remedy(self, labels: Any, values: Tensor) -> str:
        if values.ndim == 0 and not values.is_floating_point():
            return CLASS_IDS
        if values.ndim == 1 and len(values) > (self.num_labels or 0) and not self.as_ids:
            return f"for {len(values)} labels load_model(NAME, num_labels={len(values)})"
        return (
            "LabelSpace.encode makes a list of numbers from label names, and LabelSpace.names[id] "
            "is the name of an id; rows with the columns text and labels need no encoding"
        )


def check_equal_lengths(rows: Sequence[Any], name: str) -> None:
    """Refuse tokenised rows of different lengths where nothing pads them."""
    lengths = {
        len(row["input_ids"])
        for row in rows
        if isinstance(row, Mapping) and hasattr(row.get("input_ids"), "__len__")
    }
    if len(lengths) > 1:
        raise InputError(
            f"{name}: rows of {min(lengths)} and {max(lengths)} tokens: pass "
            "processing_class=tokenizer, so that batches are padded"
        )


def check_labels(
    collate: Any, loss: MultiLabelLoss, model: Any, arguments: TrainingArguments
) -> CheckedCollator:
    """Add a check of the labels to the collator that transformers chooses."""
    outputs = getattr(getattr(model, "config", None), "num_labels", None)
    as_ids = bool(getattr(arguments, "large_label_space", False))
    sets = loss.label_sets
    return CheckedCollator(collate, outputs if sets is None else sets.num_labels, as_ids)


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """transformers' length-grouped order, reproducible in any epoch.

    The stock sampler draws from the global generator, so that a run resumed in the middle of an
    epoch would see other batches than the interrupted one.
    """

    def __init__(self, batch_size: int, *, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; the data loader calls this before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()  # type: ignore[no-any-return,no-untyped-call]


class SharedBatchSampler(BatchSampler):
    """The share of one process in the batches that a single process would take.

    The rows of each whole batch are dealt out one by one, so that an uneven last batch is spread
    over all processes and no row counts twice. A process without a row of it still takes its first
    row, since every process takes part in every step: see ``ends_without_a_row``.

    ``batch_size`` is that of one process; ``sampler`` must be the same in every process.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool,
        *,
        num_processes: int,
        process_index: int,
    ) -> None:
        super().__init__(sampler, batch_size * num_processes, drop_last)
        self.num_processes = num_processes
        self.process_index = process_index

    @property
    def ends_without_a_row(self) -> bool:
        """Whether the row of this process in the last batch belongs to another process."""
        left = len(self.sampler) % self.batch_size  # type: ignore[arg-type]
        return not self.drop_last and 0 < left <= self.process_index

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield batch[self.process_index :: self.num_processes] or batch[:1]


def share_batches(loader: Any) -> SharedBatchSampler | None:
    """Let several processes share the batches that a single one would take.

    accelerate deals out whole batches instead and fills up the last ones with repeated rows.
    ``loader`` is a data loader prepared by accelerate; its sampler is replaced. Return the new
    sampler, or None for a single process or rows without an order.
    """
    shard: Any = getattr(loader, "batch_sampler", None)
    if not isinstance(shard, BatchSamplerShard) or shard.num_processes == 1:
        return None
    inner: Any = shard.batch_sampler
    shared = SharedBatchSampler(
        inner.sampler,
        inner.batch_size,
        inner.drop_last,
        num_processes=shard.num_processes,
        process_index=shard.process_index,
    )
    # The shard now passes its batches on, and shows the order to accelerate's set_epoch.
    shard.batch_sampler, shard.sampler = shared, inner.sampler
    shard.num_processes, shard.process_index, shard.batch_size = 1, 0, None
    return shared


def build_streamed_loader(
    rows: StreamedRows, collator: Any, batch_size: int, arguments: TrainingArguments
) -> Any:
    """Return a data loader of streamed rows as accelerate prepares it; each process has its own."""
    loader = DataLoader(
        rows,
        batch_size=batch_size,
        collate_fn=collator,
        drop_last=arguments.dataloader_drop_last,
        num_workers=arguments.dataloader_num_workers,
        pin_memory=arguments.dataloader_pin_memory,
        prefetch_factor=arguments.dataloader_prefetch_factor,
        multiprocessing_context=arguments.dataloader_multiprocessing_context,
    )
    # One process: the rows are shared out already, and accelerate would share them out again.
    return prepare_data_loader(
        loader,
        arguments.device,
        num_processes=1,
        process_index=0,
        put_on_device=True,
        dispatch_batches=False,
    )
