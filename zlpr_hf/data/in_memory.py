"""Rows in memory: data frames, lists of dictionaries and columns as a Dataset, and their labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import Dataset

from zlpr_hf.data.column_types import declared_names
from zlpr_hf.data.columns import read_column
from zlpr_hf.data.sources import typed_column
from zlpr_hf.errors import InputError

LABEL_COLUMNS = ("labels", "label")
CLASS_IDS = (
    "these look like single-label class ids: write the names of the labels, one-hot the ids, or "
    "train with the stock Trainer and cross-entropy if every text has exactly one label"
)
"""The remedy for one whole number per row."""


def to_dataset(rows: Any, origin: str, *, needed: Collection[str] | None = None) -> Dataset:
    """Return a data frame, a list of dictionaries or a dictionary of columns as a Dataset.

    Args:
        rows: The rows; a Dataset is returned as it is.
        origin: Name of the rows, for messages.
        needed: Columns that must be readable (default: all); others are left out if they are not.

    Raises:
        InputError: If it is something else, has no rows, or a column holds several types.
    """
    if isinstance(rows, Dataset):
        return rows
    typed = {}
    for name, values in _columns(rows, origin).items():
        cells = {number: plain_value(value) for number, value in enumerate(values, start=1)}
        try:
            typed[name] = typed_column(origin, name, cells).data.column(name)
        except InputError:
            if needed is None or name in needed:
                raise
    if not typed or not len(next(iter(typed.values()))):
        raise InputError(f"{origin}: no rows")
    return Dataset(pa.table(typed))


def _columns(rows: Any, origin: str) -> dict[str, list[Any]]:
    if hasattr(rows, "iterrows"):
        objects = rows.astype(object)
        frame = objects.where(rows.notna(), None)  # NaN, NaT and NA are missing cells
        return {str(name): frame[name].tolist() for name in frame}
    if isinstance(rows, Mapping):
        columns = {str(name): list(values) for name, values in rows.items()}
        if len(set(map(len, columns.values()))) > 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
            raise InputError(f"{origin}: expected columns of one length, got {lengths}")
        return columns
    if not isinstance(rows, Sequence) and hasattr(rows, "__getitem__") and hasattr(rows, "__len__"):
        rows = [rows[index] for index in range(len(rows))]  # a data set of torch
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise InputError(
            f"{origin}: expected a data frame, a datasets.Dataset or a list of dictionaries, got a "
            f"{type(rows).__name__}"
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(f"{origin}, row {number}: expected a dictionary, got {row!r:.60}")
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def plain_value(value: Any) -> Any:
    """Return arrays, tensors, tuples and sets as lists, which have a type in Arrow."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return list(value) if isinstance(value, tuple) else value


def find_label_column(names: Collection[str]) -> str | None:
    """Return the column of the labels, ``labels`` or ``label``; None without one."""
    return next((name for name in LABEL_COLUMNS if name in names), None)


def column_labels(rows: Dataset, column: str, origin: str) -> list[Any]:
    """Return the label cells of a column; ids are names where the column declares them."""
    cells, names = read_column(rows, column, origin), declared_names(rows.features[column])
    if names is None:
        return cells
    ids = [[cell] if isinstance(cell, int) else cell for cell in cells]
    return [None if row is None else [names[index] for index in row] for row in ids]
