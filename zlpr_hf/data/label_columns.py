"""LabelColumns: where a data set keeps its labels, and in which form."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.data.label_cells import CellError, CellReader, RowLabels, cell_reader
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelColumns:
    """Where a data set keeps its labels and in which form.

    Args:
        column: The column with the labels (all forms but ``columns``).
        columns: One column of 0/1 or probabilities per label.
        form: Form of ``column``; ``auto`` takes it from the column's type, never from its rows.
        delimiter: Separator between the names in a string.
        names: All label names in the order of their ids, if the data does not declare them.
        default_names: Names of ids and multi-hot lists if neither the data nor ``names`` has any,
            such as the labels of a model under evaluation.
    """

    column: str = "labels"
    columns: tuple[str, ...] = ()
    form: LabelForm = "auto"
    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    default_names: tuple[str, ...] | None = None

    def read(self, rows: Dataset, origin: str) -> tuple[tuple[str, ...] | None, list[RowLabels]]:
        """Read the labels of one split.

        Returns:
            All label names if the data or ``names`` declares them (else None), and the labels of
            each row.

        Raises:
            InputError: If a column is missing or of another type, or a cell cannot be read; with
                the row.
        """
        self._form(rows.features, origin)
        columns = [read_column(rows, name, origin) for name in self.columns or (self.column,)]
        cells: Sequence[Any] = list(zip(*columns, strict=True)) if self.columns else columns[0]
        read = self.reader(rows.features, {self.column: cells[0]} if cells else {}, origin)
        if read.form == "delimited":
            self.check_delimiter(any(str(self.delimiter) in str(cell) for cell in cells), origin)
        return read.names, [read.cell(cell, number) for number, cell in enumerate(cells, start=1)]

    def reader(self, features: Features, first: Mapping[str, Any], origin: str) -> LabelReader:
        """Return the reader of rows with these columns; without names, ``first`` gives the width.

        Raises:
            InputError: If a column is missing or of another type.
        """
        form = self._form(features, origin)
        if form == "columns":
            read = cell_reader("multi_hot", self.columns, None)
            return LabelReader(form, self.columns, self.columns, origin, read)
        names = self.names or _declared_names(features[self.column])
        if form in ("ids", "multi_hot"):
            names = names or self.default_names
        if form == "multi_hot" and names is None:
            cell = first.get(self.column)
            width = len(cell) if isinstance(cell, list) else 0
            names = tuple(f"LABEL_{index}" for index in range(width))
        read = cell_reader(form, names, self.delimiter)
        return LabelReader(form, names, (self.column,), origin, read)

    def check_apart(self, *text_columns: str | None) -> None:
        """Refuse a column that is both text and label: a model would read the answer."""
        both = {*(self.columns or (self.column,))} & {name for name in text_columns if name}
        if both:
            raise InputError(
                f"column {min(both)!r} is named for the text and for the labels "
                "(see text_column, label_column and label_columns)"
            )

    def check_delimiter(self, found: bool, origin: str) -> None:
        """Warn if no row contains the delimiter."""
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
        options = "label_column and label_columns"
        for name in self.columns or (self.column,):
            check_column(name, features, origin=origin, of="the labels", option=options)
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
                "a text file with one label name per line"
            )
        return form


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of rows one by one; ``names`` are all labels if they are declared."""

    form: LabelForm
    names: tuple[str, ...] | None
    columns: tuple[str, ...]
    origin: str
    read: CellReader

    def cell_of(self, row: Mapping[str, Any]) -> Any:
        """Return the label cell of a row, None if the row has no such column."""
        if self.form == "columns":
            return tuple(row.get(name) for name in self.columns)
        return row.get(self.columns[0])

    def cell(self, cell: Any, number: int) -> RowLabels:
        """Read the cell of row ``number``, counted from 1.

        Raises:
            InputError: If the cell cannot be read; with the row.
        """
        try:
            return self.read(cell)
        except CellError as error:
            where = "" if self.form == "columns" else f", column {self.columns[0]!r}"
            raise InputError(f"{self.origin}, row {number}{where}: {error}") from error


def _form_of(feature: Any, where: str, delimiter: str | None) -> LabelForm:
    """Return the form of a column type; a type that fits two forms is an error."""
    if isinstance(feature, ClassLabel):
        return "ids"
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
        if delimiter is None:
            raise InputError(
                f"{where}: the labels are a string; say label_delimiter (such as ';'), or "
                "label_columns if each label has its own column"
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


def read_label_names(path: Path) -> tuple[str, ...]:
    """Read label names in the order of their ids: one per line, or a ``.json`` list.

    Raises:
        InputError: If the file is missing, or has a duplicate or empty name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Not splitlines, which splits at rarer characters too: ids would shift.
        names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected label names, one per line: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: expected a JSON list of label names")
    stripped = [name.strip() for name in names]
    while stripped and not stripped[-1]:
        stripped.pop()
    seen: set[str] = set()
    for number, name in enumerate(stripped, start=1):
        # Skipping an empty line would shift the ids of all that follow.
        if not name:
            raise InputError(f"{path}, line {number}: expected a label name, got an empty line")
        if name in seen:
            raise InputError(f"{path}, line {number}: duplicate label {name!r}")
        seen.add(name)
    return tuple(stripped)
