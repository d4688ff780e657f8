"""The first line of a CSV or TSV file: names of columns, or a row already."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import Any

from zlpr_hf.data.column_kinds import count_words, find_kind
from zlpr_hf.data.label_candidates import find_candidates
from zlpr_hf.data.label_cells import is_missing
from zlpr_hf.data.sample_rows import SampleRows
from zlpr_hf.data.text_candidates import find_texts, longest_text
from zlpr_hf.errors import InputError

MAX_NAME_WORDS = 7
SPEAKING_KINDS = ("numbers", "flags", "dates", "addresses")
"""Kinds that a name of a column hardly ever has."""


def check_header(sample: SampleRows, known: Collection[str], command: str) -> None:
    """Refuse a file whose first line looks like a row, unless it has a known column.

    Raises:
        InputError: With a command that names the columns.
    """
    if not sample.has_header or not set(known).isdisjoint(sample.columns):
        return
    if any(_is_row_cell(name, sample.cells(name)) for name in sample.columns):
        names = shlex.join(_suggest_names(sample))
        raise InputError(
            f"{sample.origin}: the first line looks like a row, not like the names of the columns. "
            f"Name them: {command} --column_names {names}"
        )


def _is_row_cell(name: str, cells: Sequence[Any]) -> bool:
    """Whether a cell of the first line looks like those below it."""
    values = {str(cell).strip() for cell in cells if not is_missing(cell)}
    kind = find_kind([name])
    if kind in SPEAKING_KINDS and find_kind(cells) == kind:
        return True
    return name.strip() in values or count_words(name) > MAX_NAME_WORDS


def _suggest_names(sample: SampleRows) -> list[str]:
    texts = find_texts(sample)
    text = longest_text(sample, texts)
    labels = [each.columns[0] for each in find_candidates(sample, texts) if each.has_several]
    known = {text: "text"} | ({labels[0]: "labels"} if len(labels) == 1 else {})
    return [known.get(name, f"column_{n}") for n, name in enumerate(sample.columns, start=1)]
