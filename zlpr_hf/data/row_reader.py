"""RowReader: the rows of a file in order, with bad rows and their reasons set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from zlpr_hf.data.columns import check_column
from zlpr_hf.data.formats import FORMATS, guess_format
from zlpr_hf.data.row_file import Defect, FileOptions, RowFile, origin_of
from zlpr_hf.data.text_streams import COMPRESSED, STDIN, readable, zip_member_suffix
from zlpr_hf.errors import InputError

SUFFIXES = {suffix: name for name, each in FORMATS.items() for suffix in each.suffixes}
TEXT_SUFFIXES = (".txt", ".text", ".train", ".valid", ".dev", ".test", ".data")
SPREADSHEETS = (".xlsx", ".xls", ".ods")


def suffix_of(path: str) -> str:
    """Return the suffix that names the format: ``.csv`` for ``d.csv.gz``.

    The file in a ``d.zip`` names its own.
    """
    suffix = Path(path).suffix.lower()
    if suffix in COMPRESSED or suffix == ".zip":
        inner = Path(path).with_suffix("").suffix.lower()
        return inner or (zip_member_suffix(path) if suffix == ".zip" else inner)
    return suffix


def format_of(path: str, *, option: str | None = None) -> str:
    """Return the format that the suffix of a path stands for.

    Raises:
        InputError: If no format has this suffix; names the option that sets the format.
    """
    suffix = suffix_of(path)
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    remedy = f", or {option} ({', '.join(FORMATS)})" if option else ""
    if suffix in SPREADSHEETS:
        remedy = "; save the sheet as CSV UTF-8"
    raise InputError(f"{path}: unknown file type; expected one of {', '.join(SUFFIXES)}{remedy}")


def labelled_format_of(path: str) -> str:
    """Return the format of a file with labels; the content decides for suffixes such as .txt.

    Raises:
        InputError: If the file has no known suffix, and its first line shows no labels.
    """
    suffix = suffix_of(path)
    if suffix not in TEXT_SUFFIXES:
        return format_of(path)
    found = guess_format(path)
    if found is None:
        raise InputError(
            f"{path}: no labels in its first line; expected tabs between columns, __label__ before "
            "labels (fastText), JSON objects, or a file with another suffix"
        )
    return found


def check_file(path: str) -> None:
    """Refuse a path that is not a file."""
    if path == STDIN or Path(path).is_file():
        return
    reason = ": no such file"
    if Path(path).is_dir():
        reason = " is a folder: name a file in it (training also takes dataset_name)"
    elif Path(path).exists():
        reason = " is not a regular file (zlpr predict reads a pipe with --input -)"
    raise InputError(f"{path}{reason}")


@dataclass(frozen=True)
class Row:
    """A row: its number from 1, the texts of the text columns, and all cells by column name."""

    number: int
    texts: tuple[str, ...]
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, why, and its content as far as it could be read."""

    number: int
    reason: str
    content: Any
    line: int | None = None

    @property
    def explanation(self) -> str:
        """The reason, after the line if it is known."""
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"

    def to_error(self, origin: str) -> InputError:
        """Return the error of a reader that stops at the first bad row."""
        where = f"{origin}, row {self.number}: " if self.line is None else f"{origin}, "
        return InputError(where + self.explanation)


class RowReader:
    """Read a file row by row; memory grows with the file only for a JSON document.

    Training, evaluation, prediction and streaming all read files with it. Rows count from 1,
    without the header and without empty lines (in a file of one column those are empty cells).

    Args:
        path: The file, or ``-`` for standard input, which can be read once.
        format: A key of :data:`zlpr_hf.data.formats.FORMATS` (default: by suffix).
        option: Option that sets the format, for messages.
        labelled: The rows have labels: a ``.txt`` file is read by its content.
        files: How to read text cells.
        opened: The content, if it is no file: ``path`` is then its name.
        text_columns: Columns that must hold a text, which may be empty; else the row is bad.

    Raises:
        InputError: If the file is missing, not of its format, or lacks a text column.
    """

    def __init__(
        self,
        path: str,
        format: str | None = None,
        *,
        option: str | None = None,
        text_columns: Sequence[str] = (),
        labelled: bool = False,
        files: FileOptions | None = None,
        opened: RowFile | None = None,
    ) -> None:
        if opened is None:
            check_file(path)
        self.path, self.text_columns = path, tuple(text_columns)
        self.origin = origin_of(path)
        text_column = self.text_columns[0] if text_columns else "text"
        found = labelled_format_of if labelled else partial(format_of, option=option)
        with readable(self.origin):
            how = files or FileOptions()
            self._file = opened or FORMATS[format or found(path)].open(path, text_column, how)
        self.schema = self._file.schema
        columns = self.find_columns() if text_columns else None
        if columns is not None:
            for name in self.text_columns:
                option = "--text_column"
                check_column(name, columns, origin=self.origin, of="the text", option=option)

    @property
    def description(self) -> str:
        """The format in words."""
        return self._file.description

    @property
    def line(self) -> int | None:
        """First line of the row that was read last; None in formats without lines."""
        return self._file.line

    def find_columns(self) -> list[str] | None:
        """Return the columns of the file or its first row; None if only reading it shows them."""
        if self.schema is not None:
            return list(self.schema.names)
        if self.path == STDIN:
            return None
        first = next((row for row in self._cells() if not isinstance(row, Defect)), None)
        return None if first is None else list(first)

    def __iter__(self) -> Iterator[Row | BadRow]:
        for number, cells in enumerate(self._cells(), start=1):
            if isinstance(cells, Defect):
                yield BadRow(number, cells.reason, cells.content, cells.line)
            elif reason := self._find_missing_text(cells):
                yield BadRow(number, reason, cells)
            else:
                yield Row(number, tuple(cells[name] for name in self.text_columns), cells)

    def _cells(self) -> Iterator[Mapping[str, Any] | Defect]:
        with readable(self.origin):
            yield from self._file

    def read_table(self) -> pa.Table | None:
        """Return all rows at once if the format stores typed columns, else None."""
        return self._file.read_table()

    def good_rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the cells of each row.

        Raises:
            InputError: At the first bad row, with its place.
        """
        for row in self:
            if isinstance(row, BadRow):
                raise row.to_error(self.origin)
            yield row.cells

    def _find_missing_text(self, cells: Mapping[str, Any]) -> str | None:
        for name in self.text_columns:
            if name not in cells:
                return f"no column {name!r}"
            if not isinstance(cells[name], str):
                return f"column {name!r}: expected a text, got {cells[name]!r:.40}"
        return None
