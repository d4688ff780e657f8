"""The column of the texts in a file, where neither an option nor the model names it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection

from zlpr_hf.cli.parser import file_options
from zlpr_hf.data.sample_rows import read_sample
from zlpr_hf.data.text_candidates import find_texts, longest_text

logger = logging.getLogger(__name__)

TEXT_OPTIONS = ("text_column", "text_pair_column")


def find_text_column(
    options: argparse.Namespace, path: str, columns: Collection[str], *, format: str | None = None
) -> None:
    """Take the column that looks like texts, unless the file has the one that is expected.

    Args:
        options: The options of the command; ``text_column`` is changed.
        path: The file.
        columns: Its columns.
        format: Its format (default: by its suffix).
    """
    if options.text_column in columns or options.text_pair_column:
        return
    sample = read_sample(path, file_options(options), format=format)
    found = longest_text(sample, find_texts(sample))
    if found is not None:
        options.text_column = found
        logger.warning("%s: the texts are in the column %r", path, found)
