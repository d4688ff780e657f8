"""Columns of data: check that they exist, and read their values."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from zlpr_hf.errors import InputError, suggest

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

COLUMN_SEPARATORS = ";\t|,"
SEVERAL_NAMES = {
    "text_column": "; a second text goes into text_pair_column",
    "label_column": "; several columns go into label_columns, separated by spaces",
}
"""How to go on for options that take one name and got several."""


def check_column(name: str, names: Collection[str], *, origin: str, of: str, option: str) -> None:
    """Refuse a column that does not exist.

    Args:
        name: The column asked for.
        names: The columns of the data.
        origin: Name of the data, for the message.
        of: Content of the column, for the message.
        option: Options that set the column, for the message.

    Raises:
        InputError: With the existing columns and, if one is close, a suggestion.

    Example:
        >>> check_column("a", ["A"], origin="x.csv", of="the text", option="text_column")
        Traceback (most recent call last):
        zlpr_hf.errors.InputError: x.csv: no column 'a' for the text; the columns are A (see
        text_column). Did you mean "A"?
    """
    if name in names:
        return
    if "," in name and all(part.strip() in names for part in name.split(",")):
        first = option.lstrip("-").partition(" ")[0]
        hint = SEVERAL_NAMES.get(first, "; expected a single column")
    else:
        hint = separator_hint(names) or suggest(name, names)
    raise InputError(
        f"{origin}: no column {name!r} for {of}; the columns are {', '.join(names)} "
        f"(see {option}){hint}"
    )


def separator_hint(header: Collection[str]) -> str:
    """Return the end of a message if a header of one column contains another separator.

    Example:
        >>> separator_hint(["text;labels"])
        "; are its columns separated by ';'? expected commas in .csv, tabs in .tsv"
    """
    if any(any(sign.isdigit() for sign in name) and " " in name for name in header):
        return "; is the first line a row? For a file without a header set column_names"
    found = [sign for sign in COLUMN_SEPARATORS if len(header) == 1 and sign in next(iter(header))]
    if not found:
        return ""
    return f"; are its columns separated by {found[0]!r}? expected commas in .csv, tabs in .tsv"


def read_column(rows: Dataset, name: str, origin: str) -> list[Any]:
    """Return all values of a column as Python objects.

    Raises:
        InputError: If Python has no such values, such as times in an unknown time zone.
    """
    try:
        return list(rows[name])
    except Exception as error:  # every type has its own error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{origin}, column {name!r} cannot be read: {reason}") from error


def read_texts(dataset: Dataset, column: str, origin: str) -> list[str]:
    """Return a column of texts.

    Raises:
        InputError: If there is no such column, or a row holds no text; with the row.
    """
    check_column(column, dataset.column_names, origin=origin, of="the text", option="text_column")
    values = read_column(dataset, column, origin)
    for number, value in enumerate(values, start=1):
        check_text(value, column, number, origin)
    return values


def warn_of_empty_texts(texts: Mapping[int, str], column: str, origin: str) -> None:
    """Warn of empty texts, which are given by the number of their row."""
    empty = [number for number, text in texts.items() if not text.strip()]
    if empty:
        logger.warning(
            "%s, column %r: %d of %d texts are empty, the first in row %d; merged cells of a "
            "spreadsheet?",
            origin, column, len(empty), len(texts), empty[0],
        )  # fmt: skip


def check_text(value: Any, column: str, number: int, origin: str) -> None:
    """Refuse a value that is not a text."""
    if not isinstance(value, str):
        raise InputError(
            f"{origin}, row {number}, column {column!r}: expected a text, got {value!r:.80}"
        )
