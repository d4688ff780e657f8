"""The processes of one run: which of them this is, as torchrun and accelerate launch say it."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from zlpr_hf.errors import InputError

QUIET_VARIABLES = {
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
LAUNCHER_GRACE_SECONDS = 5.0
"""Seconds in which the launcher ends the others after one process has ended with an error."""
MAX_WAIT = timedelta(days=30)
"""Whoever has done its share waits for the others, which may have hours to go."""


def count_processes() -> int:
    """How many processes the launcher has started, on all machines."""
    return _number("WORLD_SIZE", 1)


def is_main_process() -> bool:
    """Whether this process prints and writes for all of them."""
    return _number("RANK", 0) == 0


def silence_other_processes() -> None:
    """Keep progress bars, warnings and log lines to the main process.

    To be called before the libraries that speak are imported: they look only then.
    """
    if not is_main_process():
        os.environ.update(QUIET_VARIABLES)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")


def log_loading() -> None:
    """A sign of life for whoever waits at a terminal: importing the libraries takes seconds."""
    if is_main_process() and sys.stderr.isatty():
        print("loading torch and transformers ...", file=sys.stderr, flush=True)


def print_error(line: str) -> None:
    """Print an error once where all processes meet it, and also where only one does.

    What is wrong with the input is wrong in all of them. The first one of each machine says so and
    ends, and with it the launcher ends the others; one that is still there has met it alone.

    Args:
        line: The whole line.
    """
    if _number("LOCAL_RANK", 0) > 0:
        time.sleep(LAUNCHER_GRACE_SECONDS)
    print(line, file=sys.stderr, flush=True)


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default


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
        count = count_processes()
        if count == 1:
            return cls()
        import torch
        from torch import distributed

        if torch.accelerator.is_available():
            device = _number("LOCAL_RANK", 0) % torch.accelerator.device_count()
            torch.accelerator.set_device_index(device)
        distributed.init_process_group("gloo", timeout=MAX_WAIT)
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
