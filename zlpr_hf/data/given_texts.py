"""Texts in memory: rows of a list, a column or a table, and the labels beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset

from zlpr_hf.data.in_memory import column_labels, find_label_column
from zlpr_hf.errors import InputError

TEXT_COLUMNS = ("text", "text_pair")


def as_rows(texts: Any) -> list[tuple[str, ...]]:
    """Return texts, or pairs of texts, as tuples; the items of any column or list.

    Raises:
        InputError: If it is a single text or a table, or an item is no text.
    """
    if isinstance(texts, str):
        raise InputError(f"texts: expected a list of texts, got one: {texts!r:.60}")
    if hasattr(texts, "column_names") or hasattr(texts, "iterrows"):
        kind = type(texts).__name__
        raise InputError(
            f'texts: expected a list of texts, got a {kind}; pass one column: ["text"]'
        )
    rows = [(text,) if isinstance(text, str) else text for text in texts]
    for position, row in enumerate(rows):
        if not (isinstance(row, (tuple, list)) and row and all(isinstance(t, str) for t in row)):
            raise InputError(
                f"texts: expected a text or a pair of texts, got {row!r:.60} at {position}"
            )
    return rows


def read_texts(texts: Any) -> list[tuple[str, ...]]:
    """Return the texts of a list, of a column, or of a table with the column ``text``.

    Raises:
        InputError: If a text is missing or of another type, or the table has no such column.
    """
    columns = _columns_of(texts)
    if columns is not None:
        names = [name for name in TEXT_COLUMNS if name in columns]
        names = names or (columns if len(columns) == 1 else [])
        if not names:
            raise InputError(
                f"texts: expected a column 'text', got the columns {', '.join(map(str, columns))}"
            )
        texts = list(zip(*(list(texts[name]) for name in names), strict=True))
    elif isinstance(texts, np.ndarray) and texts.ndim == 2:
        texts = [tuple(row) for row in texts]
    elif not hasattr(texts, "__iter__"):
        raise InputError(f"texts: expected a list or a column of texts, got {texts!r:.60}")
    return [tuple(map(str, row)) for row in as_rows(texts)]


def read_table(texts: Any, labels: Any) -> tuple[list[tuple[str, ...]], Any]:
    """Return texts, and their labels, which are a column of the table if they are not given."""
    if labels is None:
        column = find_label_column(_columns_of(texts) or ())
        if column is None:
            raise InputError("labels: pass them, or a table with the columns text and labels")
        labels = texts[column]
        if isinstance(texts, Dataset):
            labels = column_labels(texts, column, "labels")
    return read_texts(texts), labels


def _columns_of(table: Any) -> list[Any] | None:
    """Return the columns of a data frame, a Dataset or a dictionary; None if it is no table."""
    if hasattr(table, "iterrows"):
        return list(table.columns)
    if isinstance(table, Mapping):
        return list(table)
    return getattr(table, "column_names", None)
