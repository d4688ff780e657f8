"""Label cells: read the labels of one row, in any of the forms in which people store them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from zlpr_hf.choices import LabelForm
from zlpr_hf.errors import suggest
from zlpr_hf.labels import IGNORE_INDEX

RowLabels = dict[str, float]
"""Label name to its value in (0, 1], or NaN for "not known"; labels that are 0 are left out."""

CellReader = Callable[[Any], RowLabels]

LIST_AS_TEXT = re.compile(r"\[\s*((?P<quote>['\"]).*(?P=quote)\s*)?\]", re.DOTALL)
"""A list of names in a CSV cell; splitting it would make labels of brackets and quotes."""
MAX_ID_DIGITS = 19
"""Longer digits are not ids, and Python refuses to convert thousands of them."""


class CellError(Exception):
    """A fault in one cell; the caller adds file, row and column."""


def cell_reader(
    form: LabelForm, names: tuple[str, ...] | None, delimiter: str | None
) -> CellReader:
    """Return a function that reads a cell of a form; it can be pickled for data loader workers."""
    known = None if names is None else frozenset(names)
    if form == "delimited":
        return partial(_from_delimited, delimiter=delimiter or "", known=known)
    if form == "ids":
        return partial(_from_ids, names=names or (), delimiter=delimiter)
    if form == "multi_hot":
        return partial(_from_numbers, names=names or ())
    return partial(_from_names, known=known)


def _from_delimited(cell: object, *, delimiter: str, known: frozenset[str] | None) -> RowLabels:
    return _from_names(_split(cell, delimiter), known)


def _split(cell: object, delimiter: str) -> list[str]:
    if cell is None:
        return []
    if not isinstance(cell, str):
        raise CellError(f"expected a string, got {cell!r:.80}")
    if LIST_AS_TEXT.fullmatch(cell.strip()):
        raise CellError(
            f"a list written as text, {cell!r:.80}; write the names with only the delimiter "
            "between them, or the rows as JSON Lines (pandas: to_json with orient='records', "
            "lines=True)"
        )
    return [part.strip() for part in cell.split(delimiter) if part.strip()]


def _from_names(cell: object, known: frozenset[str] | None) -> RowLabels:
    if not isinstance(cell, list):
        raise CellError(f"expected a list of label names, got {cell!r:.80}")
    for name in cell:
        if not isinstance(name, str) or not name.strip():
            raise CellError(f"expected a label name, got {name!r:.80}")
        if known is not None and name not in known:
            hint = suggest(name, known, otherwise=f"; expected one of the {len(known)} given names")
            raise CellError(f"unknown label {name!r:.80}{hint}")
    return dict.fromkeys(cell, 1.0)


def _from_ids(cell: object, names: tuple[str, ...], delimiter: str | None) -> RowLabels:
    cell = _split_ids(cell, delimiter)
    ids: list[Any] = cell if isinstance(cell, list) else [cell]
    labels: RowLabels = {}
    for index in ids:
        if not isinstance(index, int) or isinstance(index, bool):
            raise CellError(f"expected integer label ids, got {index!r:.80}")
        if not 0 <= index < len(names):
            raise CellError(f"label id {index} is out of range; expected 0 to {len(names) - 1}")
        if names[index] in labels:
            raise CellError(f"duplicate label id {index}; are these 0/1 flags (multi_hot)?")
        labels[names[index]] = 1.0
    return labels


def _split_ids(cell: object, delimiter: str | None) -> object:
    """Split a string of ids such as ``3,10`` if there is a delimiter."""
    if not isinstance(cell, str) or not delimiter:
        return cell
    return [
        int(part) if part.isdecimal() and len(part) <= MAX_ID_DIGITS else part
        for part in _split(cell, delimiter)
    ]


def _from_numbers(cell: object, names: tuple[str, ...]) -> RowLabels:
    if not isinstance(cell, (list, tuple)):
        raise CellError(f"expected a list of numbers, one per label, got {cell!r:.80}")
    if len(cell) != len(names):
        raise CellError(f"expected {len(names)} numbers, one per label, got {len(cell)}")
    numbers = {name: _number(raw, name) for name, raw in zip(names, cell, strict=True)}
    return {name: value for name, value in numbers.items() if value != 0}


def _number(raw: object, name: str) -> float:
    expected = "expected 0, 1, a probability between them, or -100 for unknown"
    if isinstance(raw, str):  # pandas writes booleans as words
        raw = {"true": 1.0, "false": 0.0}.get(raw.strip().lower(), raw)
    try:
        value = float(raw)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise CellError(f"label {name!r}: {expected}, got {raw!r:.80}") from None
    if value == IGNORE_INDEX or math.isnan(value):
        return math.nan
    if not 0 <= value <= 1:
        raise CellError(f"label {name!r}: {expected}, got {value:g}")
    return value
