"""DelimitedFile: a CSV or TSV file, whose cells are all text."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from types import ModuleType
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.columns import COLUMN_SEPARATORS, separator_hint
from zlpr_hf.data.row_file import (
    Defect,
    FileOptions,
    RowFile,
    check_names,
    find_bad_byte,
    origin_of,
)
from zlpr_hf.data.tabbed_lines import read_tabbed_lines
from zlpr_hf.data.text_streams import STDIN, open_text
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

MAX_CELL_LENGTH = 2**25
"""Characters per cell: an unclosed quote must not load the rest of a large file into memory."""
MAX_HEADER_LENGTH = 2**20
MIN_SUSPECT_LINES = 3
"""A quoted cell of more lines is looked at: it may have swallowed rows."""
QUOTING_RULE = "; close every quoted cell, and double the quotes inside it"


class DelimitedFile(RowFile):
    """A CSV or TSV file; all cells are text.

    Another separator is taken if the header has it and not the usual one.
    """

    def __init__(self, path: str, delimiter: str, options: FileOptions) -> None:
        self.path, self.options = path, options
        self._warned = False
        self.delimiter = delimiter if path == STDIN else _find_separator(path, delimiter)
        records = self._records()
        self.names = (
            list(options.column_names) if options.column_names else self._read_header(records)
        )
        self.schema = pa.schema([(name, pa.string()) for name in self.names])
        # Standard input cannot be opened again: its rows follow the header in the same stream.
        self._rest = records if path == STDIN else None

    @property
    def description(self) -> str:
        """The format in words."""
        header = ", no header" if self.options.column_names else ""
        return f"columns separated by {self.delimiter!r}{header}"

    def _read_header(self, records: Iterator[tuple[int, list[str] | Defect]]) -> list[str]:
        where = f"{origin_of(self.path)}, line 1"
        _, names = next(records, (1, list[str]()))
        if isinstance(names, Defect):
            raise InputError(f"{origin_of(self.path)}, line {names.line}: {names.reason}")
        if not names:
            raise InputError(f"{where}: expected a line of column names, got nothing")
        if names[0].startswith("sep=") and len("".join(names)) <= len("sep=;"):
            raise InputError(f"{where}: remove this line, which tells Excel the separator")
        while len(names) > 1 and not names[-1].strip():  # columns that a spreadsheet left empty
            names = names[:-1]
        check_names(names, where)
        return names

    def __iter__(self) -> Iterator[dict[str, str] | Defect]:
        width = len(self.names)
        header = 0 if self.options.column_names else 1
        for line, cells in self._rest or islice(self._records(), header, None):
            self.line = line
            if isinstance(cells, Defect):
                yield cells
            elif cells == self.names:
                yield Defect("the header is repeated here; remove this line", cells, line)
            elif len(cells) >= width and not any(map(str.strip, cells[width:])):
                yield dict(zip(self.names, cells[:width], strict=True))
            elif cells:
                yield Defect(self._explain_width(len(cells)), cells, line)
            elif width == 1:  # an empty cell; in wider files an empty line is no row
                yield {self.names[0]: ""}

    def _explain_width(self, found: int) -> str:
        reason = f"expected {len(self.names)} columns as in the header, got {found}"
        quotes = f" (a cell with {self.delimiter!r} in it needs quotes)"
        return reason + (separator_hint(self.names) or quotes)

    def _records(self) -> Iterator[tuple[int, list[str] | Defect]]:
        """Yield the number of the first line of each record, and its cells."""
        quoting = self.options.quoting
        if quoting == "auto" and self.delimiter == "\t":
            yield from self._tabbed_records()
            return
        dialect: dict[str, Any] = {
            "none": {"quoting": CSV.QUOTE_NONE},
            # doublequote stays on: without it, csv accepts text after a closing quote.
            "backslash": {"escapechar": "\\"},
        }.get(quoting, {})
        lines: list[str] = []
        width = 0
        with open_text(self.path, newline="") as stream:
            reader = CSV.reader(
                _remember(stream, lines), delimiter=self.delimiter, strict=True, **dialect
            )
            cells: list[str] | Defect
            while True:
                first = reader.line_num + 1
                lines.clear()
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except CSV.Error as error:
                    reason = f"not valid CSV: {error}{_quoting_remedy(lines)}"
                    cells = Defect(reason, "".join(lines), first)
                if not width and not isinstance(cells, Defect):
                    width = len(cells)
                if len(lines) > MIN_SUSPECT_LINES:
                    self._warn_of_swallowed_rows(lines, first, width)
                yield first, find_bad_byte(lines, first) or cells

    def _warn_of_swallowed_rows(self, lines: Sequence[str], first: int, width: int) -> None:
        """Warn, once, of a quoted cell whose lines all look like rows: a quote may be missing."""
        separators = {line.count(self.delimiter) for line in lines[1:-1]}
        if width > 1 and separators == {width - 1} and not self._warned:
            self._warned = True
            logger.warning(
                "%s, lines %d to %d: one quoted cell holds %d lines that look like rows; if a "
                "quote is missing or too many, rows are lost (quoting none: quotes are text)",
                origin_of(self.path), first, first + len(lines) - 1, len(lines) - 2,
            )  # fmt: skip

    def _tabbed_records(self) -> Iterator[tuple[int, list[str] | Defect]]:
        with open_text(self.path, newline="") as stream:
            for first, cells, lines in read_tabbed_lines(stream, self.delimiter):
                yield first, find_bad_byte(lines, first) or cells


def _find_separator(path: str, usual: str) -> str:
    """Return the separator of a header that lacks the usual one."""
    with open_text(path, newline="") as stream:
        header = stream.readline(MAX_HEADER_LENGTH)
    if usual in header:
        return usual
    found = max(COLUMN_SEPARATORS, key=header.count)
    if found not in header or "\0" in header:
        return usual
    logger.warning("%s: its columns are separated by %r, as the first line shows", path, found)
    return found


def _quoting_remedy(lines: Sequence[str]) -> str:
    if any('\\"' in line for line in lines):
        return "; quotes are escaped by a backslash: set quoting backslash"
    return f"{QUOTING_RULE}, or set quoting none if quotes belong to the text"


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
