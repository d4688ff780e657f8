"""Label cells: read the labels of one row, in any of the forms in which people store them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.written_cells import (
    StructureError,
    is_broken_structure,
    parse_bare,
    parse_written,
    unpack,
)
from zlpr_hf.errors import suggest
from zlpr_hf.labels import IGNORE_INDEX

RowLabels = dict[str, float]
"""Label name to its value in (0, 1], or NaN for "not known"; labels that are 0 are left out."""

CellReader = Callable[[Any], RowLabels]

MAX_ID_DIGITS = 19
"""Longer digits are not ids, and Python refuses to convert thousands of them."""
DECIMAL_COMMA = re.compile(r"0,\d+|1,00?")
"""Numbers from 0 to 1 as a spreadsheet writes them in many countries; 1,000 may be a thousand."""
YES_WORDS = frozenset("true yes y t x on ja oui si sí ✓ ✔ ☑ ✅".split())
NO_WORDS = frozenset("false no n f off nein non ✗ ✘ ☐ ❌".split())
UNJUDGED_NUMBERS = (IGNORE_INDEX, -1)


class CellError(Exception):
    """A fault in one cell; the caller adds file, row and column."""


def clean_name(name: str) -> str:
    """Return a label name without blanks around it, in composed Unicode (NFC).

    Example:
        >>> clean_name(" cafe\u0301 ") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name).strip()


def is_missing(cell: object) -> bool:
    """Whether a cell is null, NaN or blank: it says nothing about any label."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def open_cell(cell: object, *, bare: bool = False) -> Any:
    """Return the list, mapping or plain text of a cell, whether native or written as text.

    Args:
        cell: The cell.
        bare: Names in brackets without quotes are a list too.

    Raises:
        CellError: If the cell is a structure without one clear reading.
    """
    try:
        if isinstance(cell, str):
            written = parse_written(cell)
            if written is None and bare:
                written = parse_bare(cell)
            return cell if written is None else unpack(written)
        return unpack(cell)
    except StructureError as error:
        raise CellError(str(error)) from error


def cell_reader(
    form: LabelForm,
    names: tuple[str, ...] | None,
    delimiter: str | None,
    *,
    bare: bool = False,
    missing: float = math.nan,
) -> CellReader:
    """Return a function that reads a cell of a form; it can be pickled for data loader workers.

    ``missing`` is the value of a label whose number is missing, beside others that are there.
    """
    known = None if names is None else frozenset(names)
    read: CellReader
    if form == "ids":
        read = partial(_from_ids, names=names or (), delimiter=delimiter)
    elif form in ("multi_hot", "columns"):
        read = partial(_from_numbers, names=names or (), delimiter=delimiter, missing=missing)
    else:
        read = partial(_from_names, known=known, delimiter=delimiter)
    return partial(_read_cell, read=read, bare=bare)


def _read_cell(cell: object, *, read: CellReader, bare: bool) -> RowLabels:
    return read(open_cell(cell, bare=bare))


def split_names(cell: str, delimiter: str | None) -> list[str]:
    """Return the names of a text, without blanks around them.

    Raises:
        CellError: If the delimiter cuts a written list apart.
    """
    if not delimiter:
        return [cell.strip()]
    parts = [part.strip() for part in cell.split(delimiter) if part.strip()]
    # Only at the ends: a name inside may hold a bracket of its own.
    if len(parts) > 1 and parts[0][0] in "[{" and is_broken_structure(parts[0]):
        raise CellError(
            f"brackets that the delimiter {delimiter!r} cuts apart, {cell!r:.80}; expected a list "
            "in JSON, or names with only the delimiter between them"
        )
    return parts


def _from_names(cell: object, known: frozenset[str] | None, delimiter: str | None) -> RowLabels:
    if isinstance(cell, str):
        cell = split_names(cell, delimiter)
    if cell == {}:  # an empty set or array
        return {}
    if not isinstance(cell, list):
        raise CellError(f"expected a list of label names, got {cell!r:.80}")
    labels: RowLabels = {}
    for raw in cell:
        name = clean_name(raw) if isinstance(raw, str) else ""
        if not name:
            raise CellError(f"expected a label name, got {raw!r:.80}")
        if known is not None and name not in known:
            hint = suggest(name, known, otherwise=f"; expected one of the {len(known)} given names")
            raise CellError(f"unknown label {name!r:.80}{hint}")
        labels[name] = 1.0
    return labels


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
    """Return the ids of a string such as ``3``, or ``3,10`` if there is a delimiter."""
    if not isinstance(cell, str):
        return cell
    return [
        int(part) if part.isdecimal() and len(part) <= MAX_ID_DIGITS else part
        for part in split_names(cell, delimiter)
    ]


def _from_numbers(
    cell: object, names: tuple[str, ...], delimiter: str | None, missing: float
) -> RowLabels:
    if isinstance(cell, Mapping):
        cell = [cell.get(name) for name in names]
    if isinstance(cell, str) and delimiter:
        cell = split_names(cell, delimiter)
    if not isinstance(cell, (list, tuple)):
        raise CellError(f"expected a list of numbers, one per label, got {cell!r:.80}")
    if len(cell) != len(names):
        raise CellError(f"expected {len(names)} numbers, one per label, got {len(cell)}")
    numbers = {
        name: missing if is_missing(raw) else _number(raw, name)
        for name, raw in zip(names, cell, strict=True)
    }
    return {name: value for name, value in numbers.items() if value != 0}


def _number(raw: object, name: str) -> float:
    expected = (
        f"label {name!r}: expected 0, 1, yes, no, a probability between 0 and 1, or nothing or "
        "-100 for unknown"
    )
    if isinstance(raw, str):
        word = raw.strip().lower()
        raw = 1.0 if word in YES_WORDS else 0.0 if word in NO_WORDS else raw
        if DECIMAL_COMMA.fullmatch(word):
            raw = word.replace(",", ".")
    try:
        value = float(raw)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        names = "; if the columns hold names, add label_form names" if isinstance(raw, str) else ""
        raise CellError(f"{expected}, got {raw!r:.80}{names}") from None
    if value in UNJUDGED_NUMBERS or math.isnan(value):
        return math.nan
    if not 0 <= value <= 1:
        counts = "; divide counts of raters by the number of raters" if value > 1 else ""
        raise CellError(f"{expected}, got {value:g}{counts}")
    return value
