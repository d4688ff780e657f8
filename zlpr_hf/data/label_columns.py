"""Every form in which people store labels, turned into one: a mapping of name to value a row."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.columns import check_column
from zlpr_hf.data.sources import read_column
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

LIST_AS_TEXT = re.compile(r"\[\s*((?P<quote>['\"]).*(?P=quote)\s*)?\]", re.DOTALL)
"""What becomes of a list of names in a CSV file; split, its brackets and quotes would be labels."""

RowLabels = dict[str, float]
"""Label name to its value in (0, 1], or NaN for "not known"; labels that are 0 are left out."""


@dataclass(frozen=True)
class LabelColumns:
    """Where a data set keeps its labels and in which form.

    Args:
        column: The column that holds them (all forms but ``columns``).
        columns: One column a label, of 0/1 or probabilities.
        form: How to read ``column``; ``auto`` takes it from the column's type, never from its rows.
        delimiter: What separates the names in a string.
        names: All label names in the order of their ids, where the data does not carry them.
        default_names: What ids and multi-hot lists stand for where neither says so, such as the
            labels of a model that is to be evaluated.
    """

    column: str = "labels"
    columns: tuple[str, ...] = ()
    form: LabelForm = "auto"
    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    default_names: tuple[str, ...] | None = None

    def read(self, rows: Dataset, origin: str) -> tuple[tuple[str, ...] | None, list[RowLabels]]:
        """Read the labels of one split.

        Args:
            rows: The split as it was stored.
            origin: What to call the split in a message.

        Returns:
            All label names, where the data or ``names`` declares them (else None), and the labels
            of each row.

        Raises:
            InputError: If a column is missing or of another type, or a row holds a label that does
                not fit; with the row.
        """
        wanted = [name for name in self.columns or (self.column,) if name in rows.column_names]
        head = rows.select(range(min(1, len(rows))))
        first = {name: read_column(head, name, origin)[0] for name in wanted} if len(rows) else {}
        read = self.reader(rows.features, first, origin)
        columns = [read_column(rows, name, origin) for name in self.columns or (self.column,)]
        cells: Sequence[Any] = list(zip(*columns, strict=True)) if self.columns else columns[0]
        if read.form == "delimited":
            self.check_delimiter(any(str(self.delimiter) in str(cell) for cell in cells), origin)
        return read.names, [read.cell(cell, number) for number, cell in enumerate(cells, start=1)]

    def reader(self, features: Features, first: Mapping[str, Any], origin: str) -> LabelReader:
        """How to read the labels of rows of the same columns, one by one.

        Args:
            features: Types of the columns.
            first: The first row; without names a multi-hot list has as many labels as there.
            origin: What to call the rows in a message.

        Returns:
            What reads them.

        Raises:
            InputError: If a column is missing or of another type.
        """
        form = self._form(features, origin)
        if form == "columns":
            read = _reader("multi_hot", self.columns, None)
            return LabelReader(form, self.columns, self.columns, origin, read)
        names = self.names or _declared_names(features[self.column])
        if form in ("ids", "multi_hot"):
            names = names or self.default_names
        if form == "multi_hot" and names is None:
            cell = first.get(self.column)
            width = len(cell) if isinstance(cell, list) else 0
            names = tuple(f"LABEL_{index}" for index in range(width))
        read = _reader(form, names, self.delimiter)
        return LabelReader(form, names, (self.column,), origin, read)

    def check_apart(self, *text_columns: str | None) -> None:
        """Refuse to train on the labels as texts.

        Args:
            text_columns: Columns of the texts.

        Raises:
            InputError: If one of them holds labels.
        """
        both = {*(self.columns or (self.column,))} & {name for name in text_columns if name}
        if both:
            raise InputError(
                f"column {min(both)!r} is named for the text and for the labels "
                "(see text_column, label_column and label_columns)"
            )

    def check_delimiter(self, found: bool, origin: str) -> None:
        """Warn where a delimiter was given and no row has it.

        Args:
            found: Whether one has.
            origin: What to call the rows in a message.
        """
        if not found:
            logger.warning(
                "%s: no row has the label_delimiter %r in column %r; is it the right one?",
                origin, self.delimiter, self.column,
            )  # fmt: skip

    def _form(self, features: Features, origin: str) -> LabelForm:
        if self.form not in get_args(LabelForm):
            raise InputError(
                f"label_form: expected one of {', '.join(get_args(LabelForm))}, got {self.form}"
            )
        wanted = self.columns or (self.column,)
        for name in wanted:
            check_column(
                name,
                features,
                origin=origin,
                of="the labels",
                option="label_column and label_columns",
            )
        form: LabelForm = self.form
        if self.columns or form == "columns":
            if not self.columns or form not in ("auto", "columns"):
                raise InputError("label_form columns and label_columns go together")
            return "columns"
        feature = features[self.column]
        if form == "auto":
            form = _form_of(feature, f"{origin}, column {self.column!r}", self.delimiter)
        if form == "delimited" and not self.delimiter:
            raise InputError(f"{origin}: label_form delimited needs label_delimiter, such as ';'")
        if form == "ids" and not (self.names or self.default_names or _declared_names(feature)):
            raise InputError(
                f"{origin}, column {self.column!r}: integer label ids need label_names_file, "
                "a text file with one label name a line"
            )
        return form


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of one row after the other.

    Args:
        form: How they are stored.
        names: All label names, where the data or the user declares them.
        columns: Where they are; several where each label has a column of its own.
        origin: What to call the rows in a message.
        read: Reads one cell.
    """

    form: LabelForm
    names: tuple[str, ...] | None
    columns: tuple[str, ...]
    origin: str
    read: Callable[[Any], RowLabels]

    def cell_of(self, row: Mapping[str, Any]) -> Any:
        """What a row holds as its labels; None where it has no such column.

        Args:
            row: A row as it was stored.
        """
        if self.form == "columns":
            return tuple(row.get(name) for name in self.columns)
        return row.get(self.columns[0])

    def cell(self, cell: Any, number: int) -> RowLabels:
        """Read the labels of a row.

        Args:
            cell: What :meth:`cell_of` returned.
            number: Of the row, from 1, for messages.

        Returns:
            Its labels.

        Raises:
            InputError: If they do not fit; with the row.
        """
        try:
            return self.read(cell)
        except _CellError as error:
            where = "" if self.form == "columns" else f", column {self.columns[0]!r}"
            raise InputError(f"{self.origin}, row {number}{where}: {error}") from error


def _form_of(feature: Any, where: str, delimiter: str | None) -> LabelForm:
    """Tell the form from the type of the column; a type that fits two forms is an error."""
    if isinstance(feature, ClassLabel):
        return "ids"
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
        if delimiter is None:
            raise InputError(
                f"{where}: the labels are a string; say label_delimiter (such as ';'), or "
                "label_columns where each label has a column of its own"
            )
        return "delimited"
    inner = feature.feature if isinstance(feature, (List, LargeList)) else None
    if isinstance(inner, ClassLabel):
        return "ids"
    if isinstance(inner, Value):
        if inner.dtype in ("string", "large_string", "null"):
            return "names"
        if inner.dtype.startswith(("float", "bool")):
            return "multi_hot"
        raise InputError(
            f"{where}: a list of integers may be ids or 0/1 flags; say label_form ids or multi_hot"
        )
    raise InputError(
        f"{where}: expected a list of names or ids, a multi-hot list or a delimited string, "
        f"got {feature}"
    )


def _declared_names(feature: Any) -> tuple[str, ...] | None:
    inner = feature.feature if isinstance(feature, (List, LargeList)) else feature
    return tuple(inner.names) if isinstance(inner, ClassLabel) else None


class _CellError(Exception):
    """What is wrong with one cell; the caller adds where it stands."""


def _reader(
    form: LabelForm, names: tuple[str, ...] | None, delimiter: str | None
) -> Callable[[Any], RowLabels]:
    # Partial functions, which a worker of a data loader can be sent.
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
        raise _CellError(f"expected a string, got {cell!r:.80}")
    if LIST_AS_TEXT.fullmatch(cell.strip()):
        raise _CellError(
            f"a list written as text, {cell!r:.80}; write the names with the delimiter alone "
            "between them, or the rows as JSON Lines (pandas: to_json with orient='records', "
            "lines=True)"
        )
    return [part.strip() for part in cell.split(delimiter) if part.strip()]


def _split_ids(cell: object, delimiter: str | None) -> object:
    """Ids in a string, such as ``3,10``, where a delimiter is given."""
    if not isinstance(cell, str) or not delimiter:
        return cell
    # Longer ones are no ids, and Python takes no number of thousands of digits.
    return [
        int(part) if part.isdecimal() and len(part) < 20 else part
        for part in _split(cell, delimiter)
    ]


def _from_names(cell: object, known: frozenset[str] | None) -> RowLabels:
    if not isinstance(cell, list):
        raise _CellError(f"expected a list of label names, got {cell!r:.80}")
    for name in cell:
        if not isinstance(name, str) or not name.strip():
            raise _CellError(f"expected a label name, got {name!r:.80}")
        if known is not None and name not in known:
            raise _CellError(
                f"unknown label {name!r:.80}; it is none of the {len(known)} given names"
            )
    return dict.fromkeys(cell, 1.0)


def _from_ids(cell: object, names: tuple[str, ...], delimiter: str | None) -> RowLabels:
    cell = _split_ids(cell, delimiter)
    ids: list[Any] = cell if isinstance(cell, list) else [cell]
    labels: RowLabels = {}
    for index in ids:
        if not isinstance(index, int) or isinstance(index, bool):
            raise _CellError(f"expected integer label ids, got {index!r:.80}")
        if not 0 <= index < len(names):
            raise _CellError(f"label id {index} is out of range; expected 0 to {len(names) - 1}")
        if names[index] in labels:
            raise _CellError(f"label id {index} stands twice; are these 0/1 flags (multi_hot)?")
        labels[names[index]] = 1.0
    return labels


def _from_numbers(cell: object, names: tuple[str, ...]) -> RowLabels:
    if not isinstance(cell, (list, tuple)) or len(cell) != len(names):
        if not isinstance(cell, (list, tuple)):
            raise _CellError(f"expected a list of numbers, one a label, got {cell!r:.80}")
        raise _CellError(f"expected {len(names)} numbers, one a label, got {len(cell)}")
    labels: RowLabels = {}
    for name, raw in zip(names, cell, strict=True):
        value = _number(raw, name)
        if value != 0:
            labels[name] = value
    return labels


def _number(raw: object, name: str) -> float:
    expected = "expected 0, 1, a probability between them, or -100 for unknown"
    if isinstance(raw, str):  # what pandas writes for a column of truth values
        raw = {"true": 1.0, "false": 0.0}.get(raw.strip().lower(), raw)
    try:
        value = float(raw)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _CellError(f"label {name!r}: {expected}, got {raw!r:.80}") from None
    if value == -100 or math.isnan(value):
        return math.nan
    if not 0 <= value <= 1:
        raise _CellError(f"label {name!r}: {expected}, got {value:g}")
    return value
