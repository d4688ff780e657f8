"""Orders of training rows that depend on seed and epoch alone, and a process's share of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """transformers' length-grouped order, reproducible in any epoch.

    The stock sampler draws from the global generator, so that a run resumed in the middle of an
    epoch continues with other batches than the interrupted one would have seen.

    Args:
        batch_size: Rows of an optimizer step.
        lengths: Tokens of each row.
        seed: Same seed, same order.
    """

    def __init__(self, batch_size: int, *, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()  # type: ignore[no-any-return,no-untyped-call]


class SharedBatchSampler(BatchSampler):
    """The share of one process in the batches that a single process would take.

    Each batch of the whole is dealt out row by row, so that an uneven last one is spread over all
    processes and no row is taken twice. A process that gets no row of it takes its first row all
    the same, since every process has to take part in a step: ``ends_without_a_row`` says so.

    Args:
        sampler: The order of the rows, the same in every process.
        batch_size: Rows of one process.
        drop_last: Whether to leave out an uneven last batch of the whole.
        num_processes: How many share.
        process_index: Which of them this is, from 0.
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
        """Whether the row of this process in the last batch belongs to another one."""
        left = len(self.sampler) % self.batch_size  # type: ignore[arg-type]
        return not self.drop_last and 0 < left <= self.process_index

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield batch[self.process_index :: self.num_processes] or batch[:1]
