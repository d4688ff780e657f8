"""Batches of training: their order, their share per process, and loaders of streamed rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, prepare_data_loader
from torch.utils.data import BatchSampler, DataLoader, Sampler
from transformers import TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from zlpr_hf.data.streaming.batches import StreamedRows


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
