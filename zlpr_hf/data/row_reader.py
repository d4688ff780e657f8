"""RowReader: the rows of a file, one after the other, the bad ones with their reason."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.columns import check_column
from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import parse_json_line

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "lines",
}
DELIMITERS = {"csv": ",", "tsv": "\t"}
MAX_CELL_LENGTH = 2**25
"""32 MiB: a quote that is never closed must not swallow the rest of a large file."""


@dataclass(frozen=True)
class Row:
    """A row that can be labelled: its number, its texts, one or two, and all its columns."""

    number: int
    texts: tuple[str, ...]
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be labelled, why, and what it holds as far as it can be read."""

    number: int
    reason: str
    content: Any


class _RowError(Exception):
    """What is wrong with a row; the reader adds where it stands."""

    def __init__(self, reason: str, content: Any) -> None:
        super().__init__(reason)
        self.content = content


def format_of(path: str, given: str | None, *, option: str, otherwise: str) -> str:
    """The format of a file: as given, or by its ending.

    Args:
        path: The file, or ``-`` for standard input or output.
        given: What the user said, if anything.
        option: Name of that option, for messages.
        otherwise: The format of ``-``.

    Returns:
        ``csv``, ``tsv``, ``jsonl``, ``parquet`` or ``lines``.

    Raises:
        InputError: If it cannot be told.
    """
    known = sorted(set(FORMATS.values()))
    if given is not None:
        if given not in known:
            raise InputError(f"{option}: expected one of {', '.join(known)}, got {given!r}")
        return given
    if path == "-":
        return otherwise
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: cannot tell the format by the ending; expected one of {', '.join(FORMATS)}, "
            f"or {option} ({', '.join(known)})"
        )
    return FORMATS[suffix]


class RowReader:
    """Reads a file row by row; memory does not grow with it.

    Args:
        path: The file, or ``-`` for standard input.
        format: As :func:`format_of` returns it.
        text_column: Column of the text; of lines the name it gets.
        text_pair_column: Column of a second text.
        empty_texts: Whether a text may be empty.

    Raises:
        InputError: If the file is missing, not of its format, or has no such column.
    """

    def __init__(
        self,
        path: str,
        format: str,
        *,
        text_column: str,
        text_pair_column: str | None = None,
        empty_texts: bool = False,
    ) -> None:
        self.path = path
        self.format = format
        self.empty_texts = empty_texts
        self.text_columns = tuple(name for name in (text_column, text_pair_column) if name)
        if path != "-" and not Path(path).is_file():
            there = Path(path).exists()
            reason = "no regular file; pipe it in with --input -" if there else "no such file"
            raise InputError(f"{path}: {reason}")
        if path == "-" and format == "parquet":
            raise InputError("parquet cannot be read from standard input")
        self._stream: TextIO | None = None
        if path == "-":  # opened once: its header is read before its rows
            self._stream = _as_text(sys.stdin.buffer, format)
        self._header: list[str] = []
        self.schema = self._find_schema()
        if self.schema is not None:
            self._check_columns(self.schema.names)

    @property
    def origin(self) -> str:
        """What to call the input in a message."""
        return "standard input" if self.path == "-" else self.path

    def _find_schema(self) -> pa.Schema | None:
        """Columns with their types; None for JSON Lines, where a row may have any."""
        if self.format == "jsonl":
            if self._stream is None:
                self._refuse_array()
                first = next((row for row in self._json_rows() if isinstance(row, dict)), None)
                if first is not None:
                    self._check_columns(list(first))
            return None
        if self.format == "lines":
            return pa.schema([(self.text_columns[0], pa.string())])
        if self.format == "parquet":
            with self._readable():
                schema = pyarrow.parquet.read_schema(self.path).remove_metadata()
            self._refuse_repeated(schema.names)
            return schema
        with self._lines() as stream:
            reader = csv.reader(stream, delimiter=DELIMITERS[self.format], strict=True)
            try:
                self._header = next(reader, [])
            except csv.Error as error:
                raise InputError(f"{self.origin}, line 1: {error}") from error
        if not self._header:
            raise InputError(f"{self.origin}: expected a line of column names, got nothing")
        if not _is_unicode(self._header):
            raise InputError(f"{self.origin}, line 1: not UTF-8 text; save the file as CSV UTF-8")
        self._refuse_repeated(self._header)
        return pa.schema([(name, pa.string()) for name in self._header])

    def _refuse_repeated(self, names: list[str]) -> None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(f"{self.origin}: column {min(twice)!r} stands twice")

    def _refuse_array(self) -> None:
        with self._lines() as stream:
            first = next((line for line in stream if line.strip()), "")
        if first.lstrip().startswith("["):
            raise InputError(f"{self.origin}: a JSON array; expected one JSON object a line")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a broken file can make the library raise nearly anything
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path}: not a readable parquet file: {reason}") from error

    def _check_columns(self, names: list[str]) -> None:
        for name in self.text_columns:
            check_column(name, names, origin=self.origin, of="the text", option="--text_column")

    @contextmanager
    def _lines(self) -> Iterator[TextIO]:
        """Lines as text; bytes that are no UTF-8 come through as surrogates."""
        if self._stream is not None:
            yield self._stream
            return
        with open(self.path, "rb") as file, _as_text(file, self.format) as stream:
            yield stream

    def __iter__(self) -> Iterator[Row | BadRow]:
        """The rows in order; numbers count from 1, without a header and without empty lines."""
        rows = {
            "csv": self._delimited_rows,
            "tsv": self._delimited_rows,
            "jsonl": self._json_rows,
            "lines": self._line_rows,
            "parquet": self._parquet_rows,
        }[self.format]()
        for number, cells in enumerate(rows, start=1):
            if isinstance(cells, _RowError):
                yield BadRow(number, str(cells), cells.content)
                continue
            reason = self._what_is_wrong(cells)
            if reason:
                yield BadRow(number, reason, cells)
            else:
                yield Row(number, tuple(cells[name] for name in self.text_columns), cells)

    def _what_is_wrong(self, cells: Mapping[str, Any]) -> str | None:
        for name in self.text_columns:
            if name not in cells:
                return f"no column {name!r}"
            value = cells[name]
            if not isinstance(value, str):
                return f"column {name!r}: expected a text, got {value!r:.40}"
            if not value.strip() and not self.empty_texts:
                return f"column {name!r}: the text is empty"
        if not _is_unicode(cells):
            return "not UTF-8 text (a stray byte or half a character)"
        return None

    def _delimited_rows(self) -> Iterator[dict[str, str] | _RowError]:
        csv.field_size_limit(MAX_CELL_LENGTH)
        consumed: list[str] = []
        with self._lines() as stream:

            def remembered() -> Iterator[str]:
                for line in stream:
                    consumed.append(line)
                    yield line

            reader = csv.reader(remembered(), delimiter=DELIMITERS[self.format], strict=True)
            if self._stream is None:
                next(reader)  # the header; of standard input it is read already
            while True:
                consumed.clear()
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield _RowError(f"line {reader.line_num}: {error}", "".join(consumed))
                    continue
                if not values:
                    continue
                if len(values) != len(self._header):
                    yield _RowError(
                        f"line {reader.line_num}: expected {len(self._header)} columns as in the "
                        f"header, got {len(values)}",
                        values,
                    )
                    continue
                yield dict(zip(self._header, values, strict=True))

    def _json_rows(self) -> Iterator[dict[str, Any] | _RowError]:
        with self._lines() as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                row: dict[str, Any] | _RowError
                try:
                    row = parse_json_line(line)
                except ValueError as error:
                    row = _RowError(f"line {number}: {error}", line.rstrip("\n"))
                yield row

    def _line_rows(self) -> Iterator[dict[str, str]]:
        with self._lines() as stream:
            for line in stream:
                yield {self.text_columns[0]: line.rstrip("\n")}

    def _parquet_rows(self) -> Iterator[dict[str, Any]]:
        with self._readable():
            file = pyarrow.parquet.ParquetFile(self.path)
        with file:
            batches = file.iter_batches(batch_size=1024)
            left = file.metadata.num_rows
            while True:
                with self._readable():
                    batch = next(batches, None)
                    rows = [] if batch is None else batch.to_pylist()
                if batch is None:
                    break
                left -= len(rows)
                yield from rows
        if left:
            raise InputError(f"{self.path}: not a readable parquet file: {left} rows are missing")


def _as_text(file: BinaryIO, format: str) -> TextIO:
    newline = "" if format in DELIMITERS else None
    return io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline=newline)


def _is_unicode(cells: Mapping[str, Any] | Sequence[str]) -> bool:
    """Whether a row can be written as UTF-8, nested values and names of columns too."""
    try:
        json.dumps(cells, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
