"""Processes: several of them that label one file, as torchrun or accelerate start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from zlpr_hf.errors import InputError

LONGEST_WAIT = timedelta(days=30)
"""Whoever has done its share waits for the others, which may have hours to go."""


@dataclass(frozen=True)
class Processes:
    """This process among those that were started together.

    Args:
        rank: Its number, from 0; 0 is the main process.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Find the others, where a launcher has said in the environment that there are any.

        Returns:
            This process; on several accelerators with the one it is to use already chosen.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch
        from torch import distributed

        if torch.accelerator.is_available():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            torch.accelerator.set_device_index(local % torch.accelerator.device_count())
        distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
        return cls(distributed.get_rank(), count)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that speaks, and writes what there is one of."""
        return self.rank == 0

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Wait for all at the end of the block; where it fails on one, it fails on all.

        Raises:
            InputError: On the main process, the first one of any process.
            SystemExit: On the others, without a word.
        """
        error: InputError | None = None
        try:
            yield
        except InputError as caught:
            error = caught
        found = [each for each in self._gathered(error) if each is not None]
        if found and self.is_main:
            raise found[0]
        if found:
            raise SystemExit(2)

    def from_main(self, value: set[int]) -> set[int]:
        """What the main process has.

        Args:
            value: Of this process; that of others than the main one is not looked at.

        Returns:
            The same on all.
        """
        if self.count == 1:
            return value
        from torch import distributed

        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def _gathered(self, error: InputError | None) -> list[InputError | None]:
        if self.count == 1:
            return [error]
        from torch import distributed

        errors: list[InputError | None] = [None] * self.count
        distributed.all_gather_object(errors, error)
        return errors
