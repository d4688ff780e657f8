"""LabelReader: reads the label cells of rows one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.label_cells import CellError, CellReader, RowLabels, is_missing, split_names
from zlpr_hf.errors import InputError


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of rows one by one; ``names`` are all labels if they are declared.

    ``delimiter`` separates the names in a cell if several columns hold names.
    """

    form: LabelForm
    names: tuple[str, ...] | None
    columns: tuple[str, ...]
    origin: str
    read: CellReader
    in_columns: bool = False
    missing_words: frozenset[str] = frozenset()
    missing_is_no_label: bool = False
    in_lists: bool = False
    delimiter: str | None = None

    def cell_of(self, row: Mapping[str, Any]) -> Any:
        """Return the label cell of a row, None if the row has no such column."""
        if self.in_columns:
            return tuple(row.get(name) for name in self.columns)
        return row.get(self.columns[0])

    def is_judged(self, cell: Any) -> bool:
        """Whether a cell says anything about the labels of its row."""
        return self.missing_is_no_label or not self._is_missing(cell)

    def is_blank(self, texts: Iterable[str], labels: RowLabels | None) -> bool:
        """Whether a row has neither a text nor a label, as below the end of a spreadsheet."""
        return self.missing_is_no_label and labels == {} and not any(map(str.strip, texts))

    def cell(self, cell: Any, number: int) -> RowLabels | None:
        """Read the cell of row ``number``, counted from 1; None if the row was not judged.

        Raises:
            InputError: If the cell cannot be read; with the row.
        """
        if self._is_missing(cell):
            return {} if self.missing_is_no_label else None
        try:
            if self.in_columns and self.form == "names":
                cell = list(self._names_of(cell))
            labels = self.read(cell)
        except CellError as error:
            where = "" if self.form == "columns" else f", column {self.columns[0]!r}"
            raise InputError(f"{self.origin}, row {number}{where}: {error}") from error
        return {name: labels[name] for name in labels if name not in self.missing_words}

    def _names_of(self, cells: Iterable[Any]) -> Iterator[Any]:
        """Yield the names in the columns of a row."""
        for cell in cells:
            for name in split_names(cell, self.delimiter) if isinstance(cell, str) else [cell]:
                if not self._is_missing_name(name):
                    yield name

    def _is_missing(self, cell: Any) -> bool:
        if self.in_columns and self.form == "names":
            try:
                return not any(True for _ in self._names_of(cell))
            except CellError:
                return False
        return self._is_missing_name(cell) or self._holds_missing_words(cell)

    def _is_missing_name(self, name: Any) -> bool:
        return is_missing(name) or (isinstance(name, str) and name.strip() in self.missing_words)

    def _holds_missing_words(self, cell: Any) -> bool:
        """Whether a list, or a text with delimiters, holds words for a missing value alone."""
        if not self.missing_words:
            return False
        try:
            labels = self.read(cell)
        except CellError:
            return False
        return bool(labels) and labels.keys() <= self.missing_words
