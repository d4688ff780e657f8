"""RowFile: a file whose rows are read one by one, the base of all formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zlpr_hf.choices import Quoting
from zlpr_hf.data.text_streams import STDIN
from zlpr_hf.errors import InputError


@dataclass(frozen=True)
class Defect:
    """A row that cannot be read, its raw content, and its first line in the file."""

    reason: str
    content: Any
    line: int


class RowFile(Iterable[Mapping[str, Any] | Defect]):
    """A file of one format; iterating yields the cells of each row by column name.

    ``schema`` holds the columns with their types; it is None if every row has its own columns.
    ``line`` is the first line of the row that was read last; None in formats without lines.
    """

    schema: pa.Schema | None = None
    line: int | None = None

    @property
    def description(self) -> str:
        """The format in words."""
        return "plain text"

    def read_table(self) -> pa.Table | None:
        """Return all rows at once if the format stores typed columns, else None."""
        return None


def origin_of(path: str) -> str:
    """Return the name of an input for messages."""
    return "standard input" if path == STDIN else path


@dataclass(frozen=True)
class FileOptions:
    """How to read files of text cells.

    Args:
        column_names: Names of the columns of a file without a header.
        quoting: ``csv`` (quotes around cells, doubled inside), ``backslash`` (escaped inside),
            ``none`` (quotes belong to the text), or ``auto``: as in CSV; in tab-separated files
            quotes that close their own cell.
        needed: Columns that are used; others are left out if they have no single type.
    """

    column_names: tuple[str, ...] = ()
    quoting: Quoting = "auto"
    needed: frozenset[str] | None = None


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
