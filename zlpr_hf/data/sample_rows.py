"""The first rows of a file or folder, read in a fraction of a second to see what it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from zlpr_hf.choices import Quoting
from zlpr_hf.data.column_kinds import Kind, find_kind
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import SUFFIXES, RowReader, labelled_format_of, suffix_of
from zlpr_hf.data.text_streams import COMPRESSED, readable
from zlpr_hf.errors import InputError

SAMPLE_ROWS = 1000
DELIMITED_FORMATS = ("csv", "tsv")


@dataclass(frozen=True)
class SampleRows:
    """The first rows of a file or of the training split of a folder.

    Args:
        origin: The file or folder.
        rows: Cells by column name.
        columns: Names of the columns.
        options: How the file was read; its quoting may differ from the one asked for.
        is_whole: Whether these are all rows.
        has_header: The names of the columns are the first line of the file.
        declared: Columns whose type declares the names of its labels.
    """

    origin: str
    rows: Sequence[Mapping[str, Any]]
    columns: tuple[str, ...]
    options: FileOptions = field(default_factory=FileOptions)
    is_whole: bool = True
    has_header: bool = False
    declared: frozenset[str] = frozenset()

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column; None where a row has none."""
        return [row.get(name) for row in self.rows]

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each column."""
        return {name: find_kind(self.cells(name)) for name in self.columns}


def read_sample(
    path: str, options: FileOptions | None = None, *, format: str | None = None
) -> SampleRows:
    """Read the first rows of a data file; ``format`` is a key of ``FORMATS`` (default: by suffix).

    If quotes are escaped by backslashes, and the options do not say how to read quotes, the sample
    says so in its options.

    Raises:
        InputError: If the file is missing, empty, or not of a known format; with the first bad row.
    """
    options = options or FileOptions()
    try:
        return _read_file(path, options, format)
    except InputError:
        escaped: Quoting = "backslash"
        if options.quoting != "auto" or suffix_of(path) not in (".csv", ".tsv", ".tab"):
            raise
        try:
            return _read_file(path, replace(options, quoting=escaped), format)
        except InputError:
            pass
        raise


def _read_file(path: str, options: FileOptions, format: str | None) -> SampleRows:
    with _without_warnings():  # the full reading repeats them
        reader = RowReader(path, format, labelled=True, files=options)
        rows = list(islice(reader.good_rows(), SAMPLE_ROWS + 1))
    if not rows:
        raise InputError(f"{path}: the file holds no rows")
    names = dict.fromkeys(name for row in rows for name in row)
    with readable(path):
        is_delimited = (format or labelled_format_of(path)) in DELIMITED_FORMATS
    return SampleRows(
        path,
        rows[:SAMPLE_ROWS],
        tuple(names if reader.schema is None else reader.schema.names),
        options,
        is_whole=len(rows) <= SAMPLE_ROWS,
        has_header=is_delimited and not options.column_names,
        declared=_declared_columns(reader.schema),
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    readers = logging.getLogger("zlpr_hf.data.delimited_file")
    before = readers.disabled
    readers.disabled = True
    try:
        yield
    finally:
        readers.disabled = before


def read_folder_sample(folder: Path, options: FileOptions | None = None) -> SampleRows | None:
    """Read the first training rows of a dataset folder, None if its layout is not known here.

    Raises:
        InputError: If it holds a model, or no data; else as :func:`read_sample`.
    """
    if (folder / "config.json").is_file():
        raise InputError(f"{folder} holds a model; expected a data file or a folder of data files")
    for saved in (folder / "train", folder):
        if (saved / "state.json").is_file():
            return _read_saved(saved, str(folder))
    known = (*SUFFIXES, *COMPRESSED, ".zip", ".arrow")
    if not any(path.suffix.lower() in known for path in folder.rglob("*")):
        raise InputError(f"{folder}: no data files in this folder ({', '.join(SUFFIXES)})")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    named = [path for path in files if path.stem.lower().startswith("train")] or files
    return read_sample(str(named[0]), options) if len(named) == 1 else None


def _read_saved(folder: Path, origin: str) -> SampleRows | None:
    """Read the first rows that ``Dataset.save_to_disk`` wrote."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        with pyarrow.ipc.open_stream(folder / state["_data_files"][0]["filename"]) as stream:
            rows = list(islice(_rows_of(stream), SAMPLE_ROWS + 1))
            schema = stream.schema
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException):
        return None  # loading it reports why
    whole = len(rows) <= SAMPLE_ROWS and len(state["_data_files"]) == 1
    return SampleRows(
        origin,
        rows[:SAMPLE_ROWS],
        tuple(schema.names),
        is_whole=whole,
        declared=_declared_columns(schema),
    )


def _rows_of(stream: Any) -> Iterator[dict[str, Any]]:
    for batch in stream:
        yield from batch.slice(0, SAMPLE_ROWS + 1).to_pylist()


def _declared_columns(schema: pa.Schema | None) -> frozenset[str]:
    """Return the columns of type ``ClassLabel``, which ``datasets`` notes beside the schema."""
    noted = ((schema.metadata if schema is not None else None) or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(noted).get("info", {}).get("features") or {}
    except ValueError:
        return frozenset()
    return frozenset(name for name, each in features.items() if "ClassLabel" in json.dumps(each))
