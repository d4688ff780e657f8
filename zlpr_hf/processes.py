"""The processes of one run: which of them this is, as torchrun and accelerate launch say it."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings

QUIET = {
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
PATIENCE = 5.0
"""Seconds in which the launcher ends the others after one process has ended with an error."""


def count_processes() -> int:
    """How many processes the launcher has started, on all machines."""
    return _number("WORLD_SIZE", 1)


def is_main_process() -> bool:
    """Whether this process prints and writes for all of them."""
    return _number("RANK", 0) == 0


def hush_other_processes() -> None:
    """Keep progress bars, warnings and log lines to the main process.

    To be called before the libraries that speak are imported: they look only then.
    """
    if not is_main_process():
        os.environ.update(QUIET)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")


def say_loading() -> None:
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
        time.sleep(PATIENCE)
    print(line, file=sys.stderr, flush=True)


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
