"""Batches of texts of like length, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
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
