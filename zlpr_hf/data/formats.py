"""File formats: CSV, TSV, JSON Lines, Parquet and plain text, each read row by row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.delimited_file import DelimitedFile
from zlpr_hf.data.json_file import JsonFile
from zlpr_hf.data.parquet_file import ParquetFile
from zlpr_hf.data.row_file import (
    Defect,
    FileOptions,
    RowFile,
    find_bad_byte,
)
from zlpr_hf.data.text_streams import open_text

logger = logging.getLogger(__name__)

FASTTEXT_PREFIX = "__label__"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet may run a cell that begins with one of these as a formula."""
DELIMITERS = {"csv": ",", "tsv": "\t"}


class TextFile(RowFile):
    """A plain text file: one text per line, in a single column."""

    def __init__(self, path: str, text_column: str) -> None:
        self.path, self.text_column = path, text_column
        self.schema = pa.schema([(text_column, pa.string())])

    def __iter__(self) -> Iterator[dict[str, str] | Defect]:
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                self.line = number
                cells = {self.text_column: line.rstrip("\n")}
                yield find_bad_byte([line], number) or cells


class TypedTexts(RowFile):
    """Texts of a command line, as rows of a single column."""

    def __init__(self, texts: Sequence[str], text_column: str) -> None:
        self.texts, self.text_column = texts, text_column
        self.schema = pa.schema([(text_column, pa.string())])

    def __iter__(self) -> Iterator[dict[str, str] | Defect]:
        for text in self.texts:
            yield {self.text_column: text}


class FastTextFile(RowFile):
    """Lines of fastText and Flair: labels with the prefix ``__label__``, then the text."""

    description = "fastText lines"

    def __init__(self, path: str) -> None:
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any] | Defect]:
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                self.line = number
                if line.strip():
                    yield find_bad_byte([line], number) or _parse_fasttext(line)


def _parse_fasttext(line: str) -> dict[str, Any]:
    """Return the text and labels of a line; labels may stand before or after the text."""
    words = line.split()
    labels = [word for word in words if word.startswith(FASTTEXT_PREFIX)]
    text = " ".join(word for word in words if not word.startswith(FASTTEXT_PREFIX))
    return {"text": text, "labels": [label.removeprefix(FASTTEXT_PREFIX) for label in labels]}


@dataclass(frozen=True)
class Format:
    """A format: the suffixes of its files, and how to open one: path, text column, options."""

    suffixes: tuple[str, ...]
    open: Callable[[str, str, FileOptions], RowFile]


FORMATS = {
    "csv": Format((".csv",), lambda path, _, how: DelimitedFile(path, DELIMITERS["csv"], how)),
    "tsv": Format((".tsv", ".tab"), lambda path, _, how: DelimitedFile(path, "\t", how)),
    "jsonl": Format((".jsonl", ".json", ".ndjson"), lambda path, *_: JsonFile(path)),
    "parquet": Format((".parquet",), lambda path, *_: ParquetFile(path)),
    "lines": Format((".txt",), lambda path, column, _: TextFile(path, column)),
    "fasttext": Format((".ft",), lambda path, *_: FastTextFile(path)),
}
"""All formats by name. To support another one, add it here."""


def guess_format(path: str) -> str | None:
    """Return the format of a text file by its first line, None for plain lines."""
    with open_text(path) as stream:
        line = next((line for line in stream if line.strip()), "")
    if FASTTEXT_PREFIX in line:
        return "fasttext"
    if line.lstrip().startswith(("{", "[{")) or line.strip() == "[":
        return "jsonl"
    return "tsv" if "\t" in line else None
