"""Training without output: no progress bars of libraries, nothing on standard output."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import datasets
from transformers.utils import logging


@contextmanager
def silence() -> Iterator[None]:
    """Keep bars and printed lines back, and restore the settings of the process; warnings stay."""
    bars_of_datasets = datasets.are_progress_bars_disabled()
    bars_of_transformers = logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        if not bars_of_datasets:
            datasets.enable_progress_bars()
        if bars_of_transformers:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
