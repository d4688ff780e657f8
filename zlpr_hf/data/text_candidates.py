"""Columns that look like texts, and the choice between them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from zlpr_hf.data.column_kinds import mean_words
from zlpr_hf.data.columns import check_column, separator_hint
from zlpr_hf.data.label_candidates import read_candidate
from zlpr_hf.data.label_cells import is_missing
from zlpr_hf.data.sample_rows import SampleRows
from zlpr_hf.errors import InputError

TEXT = "text"
"""The column that is read by default."""
MIN_WORDS = 3
CLEARLY_LONGER = 3
"""A column with this many times the words of the next one is the text."""
MEASURED_TEXTS = 200
COLUMNS_SHOWN = 12


def choose_text(
    sample: SampleRows, given: Mapping[str, Any], command: str
) -> tuple[str, list[str]]:
    """Return the column of the text, and all columns of texts.

    Raises:
        InputError: If a given column does not exist, or none or several look like the text.
    """
    for option, of in (("text_pair_column", "the second text"), ("text_column", "the text")):
        name = given.get(option)
        if name is not None:
            check_column(name, sample.columns, origin=sample.origin, of=of, option=f"--{option}")
    pair = given.get("text_pair_column")
    labels = given.get("label_columns") or [given.get("label_column")]
    texts = [name for name in find_texts(sample) if name not in {pair, *labels}]
    if given.get("text_column") is not None or TEXT in sample.columns:
        return given.get("text_column") or TEXT, texts
    best = longest_text(sample, texts)
    if best is not None:
        return best, texts
    if not texts:
        hint = separator_hint(sample.columns) if sample.has_header else ""
        raise InputError(
            f"{sample.origin}: no column looks like texts; {list_columns(sample)}. Name it: "
            f"{command} --text_column NAME{hint}"
        )
    words = ", ".join(f"{name} ({_words_of(sample, name):.0f} words)" for name in texts)
    first, second = (shlex.quote(name) for name in texts[:2])
    raise InputError(
        f"{sample.origin}: several columns look like the text: {words}. Name it: {command} "
        f"--text_column {first} (for both texts add --text_pair_column {second})"
    )


def find_texts(sample: SampleRows) -> list[str]:
    """Return the columns of texts; short ones only if there are no longer ones."""
    names = [name for name in sample.columns if sample.kinds[name] == "text"]
    plain = [name for name in names if name not in sample.declared and _is_prose(sample, name)]
    long = [name for name in plain if _words_of(sample, name) >= MIN_WORDS]
    return long or plain


def longest_text(sample: SampleRows, texts: Collection[str]) -> str | None:
    """Return the column whose texts are clearly longer than all others, None if there is none."""
    lengths = sorted(((_words_of(sample, name), name) for name in texts), reverse=True)
    if not lengths or (len(lengths) > 1 and lengths[0][0] < CLEARLY_LONGER * lengths[1][0]):
        return None
    return lengths[0][1]


def _is_prose(sample: SampleRows, name: str) -> bool:
    cells = [cell for cell in sample.cells(name) if not is_missing(cell)]
    differ = len(set(cells)) > 1 or len(sample.rows) == 1
    return differ and read_candidate(sample, name) is None


def _words_of(sample: SampleRows, name: str) -> float:
    texts = dict.fromkeys(cell for cell in sample.cells(name) if not is_missing(cell))
    return mean_words(list(texts)[:MEASURED_TEXTS])


def list_columns(sample: SampleRows) -> str:
    """Return the columns and their kinds in words."""
    words = {"lists": "lists or objects", "splits": "names of splits", "yes/no": "yes or no"}
    names: Sequence[str] = sample.columns[:COLUMNS_SHOWN]
    shown = [f"{name} ({words.get(sample.kinds[name], sample.kinds[name])})" for name in names]
    more = ", ..." if len(sample.columns) > COLUMNS_SHOWN else ""
    noun = "columns are" if len(shown) > 1 else "only column is"
    return f"the {noun} {', '.join(shown)}{more}"
