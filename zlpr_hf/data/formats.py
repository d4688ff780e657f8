"""File formats: CSV, TSV, JSON Lines, Parquet and plain text, each read row by row."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from types import ModuleType
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.columns import separator_hint
from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import parse_json_line

DELIMITERS = {"csv": ",", "tsv": "\t"}
STDIN = "-"
MAX_CELL_LENGTH = 2**25
"""Characters per cell: an unclosed quote must not load the rest of a large file into memory."""
QUOTING_RULE = "; close every quoted cell, and double the quotes inside it"
BATCH_ROWS, TABLE_ROWS = 1024, 65_536
"""Rows of a Parquet file that are decoded at a time: as Python objects, and as a table."""


@dataclass(frozen=True)
class Defect:
    """A row that cannot be read, its raw content, and its first line in the file."""

    reason: str
    content: Any
    line: int


class RowFile(Iterable[Mapping[str, Any] | Defect]):
    """A file of one format; iterating yields the cells of each row by column name.

    ``schema`` holds the columns with their types; it is None if every row has its own columns.
    """

    schema: pa.Schema | None = None

    def read_table(self) -> pa.Table | None:
        """Return all rows at once if the format stores typed columns, else None."""
        return None


def origin_of(path: str) -> str:
    """Return the name of an input for messages."""
    return "standard input" if path == STDIN else path


class DelimitedFile(RowFile):
    """A CSV or TSV file with a header; all cells are text."""

    def __init__(self, path: str, delimiter: str) -> None:
        self.path, self.delimiter = path, delimiter
        records = self._records()
        self.names = self._read_header(records)
        self.schema = pa.schema([(name, pa.string()) for name in self.names])
        # Standard input cannot be opened again: its rows follow the header in the same stream.
        self._rest = records if path == STDIN else None

    def _read_header(self, records: Iterator[tuple[int, list[str] | Defect]]) -> list[str]:
        where = f"{origin_of(self.path)}, line 1"
        _, names = next(records, (1, list[str]()))
        if isinstance(names, Defect):
            raise InputError(f"{origin_of(self.path)}, line {names.line}: {names.reason}")
        if not names:
            raise InputError(f"{where}: expected a line of column names, got nothing")
        check_names(names, where)
        return names

    def __iter__(self) -> Iterator[dict[str, str] | Defect]:
        width = len(self.names)
        for line, cells in self._rest or islice(self._records(), 1, None):
            if isinstance(cells, Defect):
                yield cells
            elif len(cells) == width:
                yield dict(zip(self.names, cells, strict=True))
            elif cells:  # an empty line has none
                yield Defect(self._explain_width(len(cells)), cells, line)

    def _explain_width(self, found: int) -> str:
        reason = f"expected {len(self.names)} columns as in the header, got {found}"
        quotes = f" (a cell with {self.delimiter!r} in it needs quotes)"
        return reason + (separator_hint(self.names) or quotes)

    def _records(self) -> Iterator[tuple[int, list[str] | Defect]]:
        """Yield the number of the first line of each record, and its cells."""
        lines: list[str] = []
        with open_text(self.path, newline="") as stream:
            reader = CSV.reader(_remember(stream, lines), delimiter=self.delimiter, strict=True)
            cells: list[str] | Defect
            while True:
                first = reader.line_num + 1
                lines.clear()
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except CSV.Error as error:
                    reason = f"not valid CSV: {error}{QUOTING_RULE}"
                    cells = Defect(reason, "".join(lines), first)
                yield first, find_bad_byte(lines, first) or cells


def _remember(stream: TextIO, lines: list[str]) -> Iterator[str]:
    for line in stream:
        lines.append(line)
        yield line


def _own_csv_module() -> ModuleType:
    """Return a copy of the C module behind ``csv``.

    The limit on the length of a cell belongs to the module, so that raising it in the shared one
    would change it for the whole process.
    """
    spec = importlib.util.find_spec("_csv")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.field_size_limit(MAX_CELL_LENGTH)
    return module


CSV = _own_csv_module()


class JsonLinesFile(RowFile):
    """A file with one JSON object per line; each row has its own columns."""

    def __init__(self, path: str) -> None:
        self.path = path
        if path == STDIN:
            return
        with open_text(path) as stream:
            number, line = next(((n, s) for n, s in enumerate(stream, 1) if s.strip()), (1, ""))
        if line.lstrip().startswith("["):
            raise InputError(
                f"{path}, line {number}: a JSON array; expected JSON Lines, one JSON object per "
                "line (pandas: to_json with orient='records', lines=True)"
            )

    def __iter__(self) -> Iterator[dict[str, Any] | Defect]:
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield find_bad_byte([line], number) or _parse_object(line, number)


def _parse_object(line: str, number: int) -> dict[str, Any] | Defect:
    try:
        return parse_json_line(line)
    except ValueError as error:
        return Defect(str(error), line.rstrip("\n"), number)


class TextFile(RowFile):
    """A plain text file: one text per line, in a single column."""

    def __init__(self, path: str, text_column: str) -> None:
        self.path, self.text_column = path, text_column
        self.schema = pa.schema([(text_column, pa.string())])

    def __iter__(self) -> Iterator[dict[str, str] | Defect]:
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                cells = {self.text_column: line.rstrip("\n")}
                yield find_bad_byte([line], number) or cells


class ParquetFile(RowFile):
    """A Parquet file."""

    def __init__(self, path: str) -> None:
        if path == STDIN:
            raise InputError("Parquet cannot be read from standard input; give a file")
        self.path = path
        with self._readable():
            self.schema = pyarrow.parquet.read_schema(path)
        check_names(self.schema.names, path)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._batches(BATCH_ROWS):
            with self._readable():
                rows = batch.to_pylist()
            yield from rows

    def read_table(self) -> pa.Table:
        """Return all rows with their types."""
        batches = list(self._batches(TABLE_ROWS))
        return pa.Table.from_batches(batches, self.schema)

    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:
        with self._readable():
            # Not read_table, which takes a parent folder named a=b for another column.
            file = pyarrow.parquet.ParquetFile(self.path)
        with file:
            batches = file.iter_batches(batch_size=size)
            missing = file.metadata.num_rows
            while True:
                with self._readable():
                    batch = next(batches, None)
                if batch is None:
                    break
                missing -= batch.num_rows
                yield batch
        if missing:
            raise InputError(
                f"{self.path}: not a readable Parquet file: {missing} rows are missing"
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damaged files make pyarrow raise nearly any type
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path}: not a readable Parquet file: {reason}") from error


@dataclass(frozen=True)
class Format:
    """A format: the suffixes of its files, and how to open one, given path and text column."""

    suffixes: tuple[str, ...]
    open: Callable[[str, str], RowFile]


FORMATS = {
    "csv": Format((".csv",), lambda path, _: DelimitedFile(path, DELIMITERS["csv"])),
    "tsv": Format((".tsv",), lambda path, _: DelimitedFile(path, DELIMITERS["tsv"])),
    "jsonl": Format((".jsonl", ".json"), lambda path, _: JsonLinesFile(path)),
    "parquet": Format((".parquet",), lambda path, _: ParquetFile(path)),
    "lines": Format((".txt",), TextFile),
}
"""All formats by name. To support another one, add it here."""


def open_text(path: str, newline: str | None = None) -> TextIO:
    """Open a text file or standard input; bytes that are not UTF-8 become lone surrogates."""
    if path == STDIN:
        return TextIOWrapper(sys.stdin.buffer, "utf-8-sig", "surrogateescape", newline)
    return open(path, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def find_bad_byte(lines: Sequence[str], first: int) -> Defect | None:
    """Return the first line with a byte that was not UTF-8, if any; ``first`` is its number."""
    for number, line in enumerate(lines, start=first):
        if line.isascii():
            continue
        try:
            line.encode("utf-8")
        except UnicodeEncodeError as error:
            byte = len(line[: error.start].encode("utf-8")) + 1
            reason = (
                f"expected UTF-8 text, byte {byte} is not; save the file as UTF-8 "
                "(a spreadsheet: as CSV UTF-8)"
            )
            return Defect(reason, "".join(lines), number)
    return None


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse duplicate column names, and names that Arrow would cut."""
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise InputError(f"{where}: duplicate column {min(duplicates)!r}")
    for name in names:
        if "\0" in name:
            raise InputError(f"{where}: column {name!r:.80} has a NUL byte in its name")
