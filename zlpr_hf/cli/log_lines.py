"""Warnings of the package on a terminal: whole words on every line."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager


class WordWrap(logging.Formatter):
    """Breaks messages between words at the width of the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        width = shutil.get_terminal_size().columns
        return textwrap.fill(
            super().format(record), width, break_long_words=False, break_on_hyphens=False
        )


@contextmanager
def wrap_warnings() -> Iterator[None]:
    """Wrap the warnings of the package for a while if they go to a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    logger, handler = logging.getLogger("zlpr_hf"), logging.StreamHandler()
    handler.setFormatter(WordWrap())
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
