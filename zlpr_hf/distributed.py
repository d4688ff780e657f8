"""Processes started together by torchrun or accelerate launch; light to import."""

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
from typing import TYPE_CHECKING, TypeVar

from zlpr_hf.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
QUIET_VARIABLES = {
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
BRIEF_BARS = {"TQDM_DELAY": "2", "TQDM_LEAVE": ""}
LAUNCHER_GRACE_SECONDS = 5.0
"""After one process has failed, the launcher ends the others within this time."""
MAX_WAIT = timedelta(days=30)
"""A process that is done waits for the others, which may take hours."""


def count_processes() -> int:
    """Return how many processes the launcher has started, on all machines."""
    return _read_number("WORLD_SIZE", 1)


def is_main_process() -> bool:
    """Whether this process prints and writes for all of them."""
    return _read_number("RANK", 0) == 0


def silence_other_processes() -> None:
    """Limit progress bars, warnings and log lines to the main process.

    Call it before the libraries are imported: they read these variables only then.
    """
    if not is_main_process():
        os.environ.update(QUIET_VARIABLES)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")


def limit_progress_bars() -> None:
    """Let the bars of libraries appear after two seconds, on a terminal only, and vanish.

    For this process alone; call it before the libraries are imported, as tqdm reads these variables
    only then.
    """
    variables = BRIEF_BARS if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def announce_loading() -> None:
    """Tell a user at a terminal why nothing happens while libraries load for some seconds."""
    if is_main_process() and sys.stderr.isatty():
        print("loading torch and transformers ...", file=sys.stderr, flush=True)


def open_console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; plain where ``NO_COLOR`` is set or in a pipe."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(stderr=stderr, highlight=False, color_system=None if plain else "auto")


def print_error(line: str) -> None:
    """Print an error once if all processes meet it, and also if only one of them does.

    The first process of each machine prints at once and exits, so that the launcher ends the
    others. One that survives that met the error alone.
    """
    if _read_number("LOCAL_RANK", 0) > 0:
        time.sleep(LAUNCHER_GRACE_SECONDS)
    from rich.text import Text

    text = Text(line)
    text.highlight_regex("^error:", "bold red")
    open_console(stderr=True).print(text, soft_wrap=True)


def _read_number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default


@dataclass(frozen=True)
class Processes:
    """This process, number ``rank`` of ``count``; the main process has rank 0."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Connect to the other processes, if a launcher has started any, and select an accelerator.

        The backend is gloo, not accelerate's choice: several processes may share an accelerator.
        """
        count = count_processes()
        if count == 1:
            return cls()
        import torch
        from torch import distributed

        if torch.accelerator.is_available():
            device = _read_number("LOCAL_RANK", 0) % torch.accelerator.device_count()
            torch.accelerator.set_device_index(device)
        distributed.init_process_group("gloo", timeout=MAX_WAIT)
        return cls(distributed.get_rank(), count)

    @property
    def is_main(self) -> bool:
        """Whether this process prints, and writes files that exist once."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes in the order of their ranks."""
        values = [value] * self.count
        if self.count > 1:
            from torch import distributed

            distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Wait for all processes at the end of the block; if it fails in one, it fails in all.

        Raises:
            InputError: In the main process, the first error of any process.
            SystemExit: In the others, which print nothing.
        """
        error: InputError | None = None
        try:
            yield
        except InputError as caught:
            error = caught
        errors = [each for each in self.gather(error) if each is not None]
        if errors and self.is_main:
            raise errors[0]
        if errors:
            raise SystemExit(2)
