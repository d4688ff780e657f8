"""Where rows come from: a Hub data set, a local folder, files or a built-in corpus."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset, DatasetDict, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import ArrowException

from zlpr_hf.data.columns import separator_hint
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import parse_json_line

SPLITS = ("train", "validation", "test")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
SHEETS = (".xlsx", ".xls", ".ods")
READERS = ".csv, .tsv, .jsonl, .json (one object a line) or .parquet"


@dataclass(frozen=True)
class Source:
    """Raw splits with their own columns, and what to call each in a message.

    Args:
        splits: Split name to rows as they were stored.
        origins: Split name to file or data set, for messages.
        label_descriptions: A few words on labels whose names say little, where the source has them.
    """

    splits: DatasetDict
    origins: dict[str, str]
    label_descriptions: dict[str, str] = field(default_factory=dict)


def load_source(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    data_dir: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Source:
    """Read the splits of a data set, unchanged.

    Args:
        dataset_name: A built-in corpus (``cwe``, ``reuters21578``), a local data set folder, or the
            id of a data set on the Hub.
        dataset_config_name: Configuration of a Hub data set.
        data_dir: For a built-in corpus: folder, archive or URL of its original files.
        files: Split name to a CSV, TSV, JSON Lines or Parquet file; instead of ``dataset_name``.

    Returns:
        The splits that the source has.

    Raises:
        InputError: If the source is missing, empty or broken; with file and line.
    """
    if (dataset_name is None) == (not files):
        raise InputError("say where the data is: either dataset_name or train_file, not both")
    if files:
        return _from_files(files)
    assert dataset_name is not None
    if dataset_name in CORPORA:
        corpus = CORPORA[dataset_name](data_dir)
        return Source(
            DatasetDict(
                {name: Dataset.from_dict(columns) for name, columns in corpus.splits.items()}
            ),
            {name: f"{dataset_name}/{name}" for name in corpus.splits},
            corpus.label_descriptions,
        )
    return _from_library(dataset_name, dataset_config_name)


def _from_library(name: str, config: str | None) -> Source:
    loaded = load_splits(name, config)
    return Source(DatasetDict(loaded), {key: f"{name}/{key}" for key in loaded})


def load_splits(name: str, config: str | None, *, streaming: bool = False) -> dict[str, Any]:
    """Load a data set with the library of that name.

    Args:
        name: A local folder, or an id on the Hub.
        config: Configuration of a data set on the Hub.
        streaming: Whether rows are read as they are asked for, and not held.

    Returns:
        Those of the splits ``train``, ``validation`` and ``test`` that it has.

    Raises:
        InputError: If there is no such data set, or it cannot be read.
    """
    folder = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not folder.is_dir():
        raise InputError(f"{name}: no such folder (dataset_name)")
    if folder.is_file():
        raise InputError(f"{name} is a file: give it as train_file")
    if folder.suffix.lower() in SUFFIXES:
        raise InputError(f"{name}: no such file")
    try:
        # A copy on disk mostly holds one configuration, whatever its name on the Hub.
        if folder.is_dir() and config not in get_dataset_config_names(str(folder)):
            config = None
        where = str(folder) if folder.is_dir() else name
        loaded = load_dataset(where, config, streaming=streaming)
    except (DatasetGenerationError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"data set {name!r} could not be loaded: {reason} "
            f"(built-in corpora: {', '.join(sorted(CORPORA))})"
        ) from error
    known = [key for key in SPLITS if isinstance(loaded, dict) and key in loaded]
    if not known:
        raise InputError(f"data set {name!r} has no split called {', '.join(SPLITS)}")
    return {key: loaded[key] for key in known}


def _from_files(files: Mapping[str, str]) -> Source:
    if "train" not in files:
        raise InputError("train_file is missing; validation_file and test_file are optional")
    splits = DatasetDict({name: read_file(Path(path)) for name, path in files.items()})
    return Source(splits, dict(files))


def read_file(path: Path) -> Dataset:
    """Read one CSV, TSV, JSON Lines or Parquet file into a data set.

    Args:
        path: The file; its ending tells the format.

    Returns:
        Its rows. Cells of CSV and TSV files are strings.

    Raises:
        InputError: If the file is missing, of another format, empty, or broken; with the line.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it, or give it as dataset_name")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if suffix in (".csv", ".tsv"):
            dataset = _read_delimited(path, delimiter="," if suffix == ".csv" else "\t")
        elif suffix in (".jsonl", ".json"):
            dataset = _read_json_lines(path)
        elif suffix == ".parquet":
            dataset = _read_parquet(path)
        else:
            sheet = "; save the sheet as CSV UTF-8" if suffix in SHEETS else ""
            raise InputError(f"{path}: expected a {READERS} file{sheet}")
    except UnicodeDecodeError as error:
        raise InputError(_where_not_unicode(path)) from error
    if dataset.num_rows == 0:
        raise InputError(f"{path}: the file holds no rows")
    return dataset


def read_column(rows: Dataset, name: str, origin: str) -> list[Any]:
    """Read all values of a column.

    Args:
        rows: The data set.
        name: One of its columns.
        origin: What to call the rows in a message.

    Returns:
        The values, as Python has them.

    Raises:
        InputError: If there are some that Python does not have, such as a time in no known zone.
    """
    try:
        return list(rows[name])
    except Exception as error:  # whatever the library of that type raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{origin}, column {name!r} cannot be read: {reason}") from error


def _where_not_unicode(path: Path) -> str:
    """A decoder counts bytes from where it read last; a user looks for a line."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"{path}, line {number}: expected UTF-8 text, byte {error.start + 1} is not; "
                    "save the file as UTF-8 (a sheet: as CSV UTF-8)"
                )
    return f"{path}: expected UTF-8 text"


def _read_parquet(path: Path) -> Dataset:
    try:
        # Not read_table, which takes a folder named a=b for one more column.
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            dataset = Dataset(file.read())
            if dataset.num_rows != file.metadata.num_rows:
                raise ValueError(f"{dataset.num_rows} rows of {file.metadata.num_rows}")
    except Exception as error:  # a broken file can make the libraries raise nearly anything
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable parquet file: {reason}") from error
    _check_names(path, names)
    return dataset


def _check_names(where: object, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: column {min(twice)!r} stands twice")
    for name in names:
        if "\0" in name:  # Arrow would end the name there
            raise InputError(f"{where}: column {name!r:.80} has a NUL byte in its name")


def _read_delimited(path: Path, *, delimiter: str) -> Dataset:
    csv.field_size_limit(sys.maxsize)  # the default of 128 KiB a cell is too small for documents
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            _check_names(f"{path}, line 1", header)
            columns: list[list[str]] = [[] for _ in header]
            for row in reader:
                if len(row) != len(header):
                    if not row:  # an empty line
                        continue
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected {len(header)} columns as in the "
                        f"header, got {len(row)}"
                        + (separator_hint(header) or " (a text with a comma in it needs quotes)")
                    )
                for cells, cell in zip(columns, row, strict=True):
                    cells.append(cell)
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    return Dataset.from_dict(dict(zip(header, columns, strict=True)))


def _read_json_lines(path: Path) -> Dataset:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                rows.append(parse_json_line(line))
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {error}") from error
    return _to_columns(path, rows)


def _to_columns(path: Path, rows: list[dict[str, Any]]) -> Dataset:
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_names(path, names)
    columns: dict[str, Any] = {}
    for name in names:
        values = {number: row.get(name) for number, row in enumerate(rows, start=1)}
        columns[name] = typed_column(path, name, values).data.column(name).combine_chunks()
    return Dataset(pyarrow.table(columns)) if columns else Dataset.from_dict({})


def typed_column(path: Path, name: str, values: Mapping[int, Any]) -> Dataset:
    """A column whose type follows from all its values.

    Args:
        path: The file, for messages.
        name: Of the column.
        values: Number of a row to what it holds.

    Returns:
        One column.

    Raises:
        InputError: If the values are not of one type; with the rows.
    """
    try:
        return Dataset.from_dict({name: list(values.values())})
    except UnicodeEncodeError as error:
        raise InputError(f"{path}, column {name!r}: half a character (a lone surrogate)") from error
    except (ArrowException, TypeError, OverflowError, ValueError) as error:
        kinds: dict[str, int] = {}
        for number, value in values.items():
            kinds.setdefault(kind_of(value), number)
        where = ", ".join(f"{kind} in row {number}" for kind, number in kinds.items())
        raise InputError(f"{path}, column {name!r}: expected one type, got {where}") from error


def kind_of(value: object) -> str:
    """What a cell holds, in words.

    Args:
        value: As JSON knows it.
    """
    if isinstance(value, list):
        return f"a list of {', '.join(sorted({kind_of(item) for item in value})) or 'nothing'}"
    kinds = {str: "text", bool: "true/false", int: "a whole number", float: "a number"}
    return "nothing" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
