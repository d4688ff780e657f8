"""Sources of rows: a data set on the Hub, a local folder, files or a built-in corpus."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.data_sets import SplitFiles, load_splits
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.errors import InputError


@dataclass(frozen=True)
class Source:
    """Splits with their own columns, the name of each for messages, and texts on labels.

    ``format`` is the format of the training file in words, ``lines`` the first line of each row in
    its file, for splits in single files with lines, ``labels`` where the labels are; None leaves it
    to the options.
    """

    splits: DatasetDict
    origins: dict[str, str]
    label_descriptions: dict[str, str] = field(default_factory=dict)
    format: str = ""
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    labels: LabelColumns | None = None


def load_source(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    data_dir: str | None = None,
    files: Mapping[str, str] | None = None,
    options: FileOptions | None = None,
) -> Source:
    """Read the splits of a data set, unchanged.

    Args:
        dataset_name: A built-in corpus (``attack``, ``cwe``, ``reuters21578``), a local data set
            folder, or the id of a data set on the Hub.
        dataset_config_name: Configuration of a data set on the Hub.
        data_dir: Folder, archive or URL of the original files of a built-in corpus.
        files: Split name to a file; instead of ``dataset_name``.
        options: How to read files of text cells.

    Raises:
        InputError: If the source is missing, empty or broken; with file and line.
    """
    if (dataset_name is None) == (not files):
        raise InputError("name the data with --train_file FILE or --dataset_name NAME, one of them")
    if files:
        if "train" not in files:
            raise InputError("train_file is missing; validation_file and test_file are optional")
        readers = {
            name: RowReader(path, labelled=True, files=options) for name, path in files.items()
        }
        read = {name: _read_all(reader, options) for name, reader in readers.items()}
        return Source(
            DatasetDict({name: rows for name, (rows, _) in read.items()}),
            dict(files),
            format=readers["train"].description,
            lines={name: lines for name, (_, lines) in read.items()},
        )
    assert dataset_name is not None
    if dataset_name in CORPORA:
        corpus = CORPORA[dataset_name](data_dir)
        splits = {name: Dataset.from_dict(columns) for name, columns in corpus.splits.items()}
        origins = {name: f"{dataset_name}/{name}" for name in splits}
        return Source(DatasetDict(splits), origins, corpus.label_descriptions)
    loaded = load_splits(dataset_name, dataset_config_name, options)
    splits = {key: read_split(each) for key, each in loaded.items()}
    origins = {key: origin_of_split(each, f"{dataset_name}/{key}") for key, each in loaded.items()}
    return Source(DatasetDict(splits), origins)


def origin_of_split(split: Any, name: str) -> str:
    """Return the name of a split for messages: its file if it is a single one in a folder."""
    is_file = isinstance(split, SplitFiles) and len(split.paths) == 1 and not split.downloaded
    return split.paths[0] if is_file else name


def read_split(split: Any) -> Dataset:
    """Read a split that :func:`zlpr_hf.data.data_sets.load_splits` returned.

    Raises:
        InputError: If a file is empty or broken, or has not the types that the data set declares.
    """
    if not isinstance(split, SplitFiles):
        return split
    parts = [read_file(Path(path), split.options) for path in split.paths]
    dataset = parts[0] if len(parts) == 1 else _concatenate(parts, split.paths)
    needed = split.options.needed
    for name, feature in (split.features or {}).items():
        if name in dataset.column_names and (needed is None or name in needed):
            dataset = _cast(dataset, name, feature, split.paths[0])
    return dataset


def _concatenate(parts: Sequence[Dataset], paths: Sequence[str]) -> Dataset:
    try:
        return concatenate_datasets(list(parts))
    except (ValueError, pa.ArrowException) as error:
        raise InputError(f"{paths[0]} and the other files of its split differ: {error}") from error


def _cast(dataset: Dataset, name: str, feature: Any, origin: str) -> Dataset:
    try:
        return _without_empty_cells(dataset, name, feature).cast_column(name, feature)
    except (ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{origin}, column {name!r}: not of the type that the data set declares: {error}"
        ) from error


def _without_empty_cells(dataset: Dataset, name: str, feature: Any) -> Dataset:
    """Return the rows with empty cells of a text column as null, unless it stays text."""
    cells = dataset.data.column(name)
    if not pa.types.is_string(cells.type) or feature == Value("string"):
        return dataset
    filled = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
    place = dataset.column_names.index(name)
    return Dataset(dataset.data.table.set_column(place, name, filled))


def read_file(path: Path, options: FileOptions | None = None) -> Dataset:
    """Read all rows of a file; its suffix names the format, and cells of CSV and TSV are text.

    Raises:
        InputError: If the file is missing, of another format, empty, or broken; with the line.
    """
    rows, _ = _read_all(RowReader(str(path), labelled=True, files=options), options)
    return rows


def _read_all(reader: RowReader, options: FileOptions | None) -> tuple[Dataset, list[int]]:
    """Return all rows and the first line of each; no lines if the format has none."""
    needed = None if options is None else options.needed
    table, lines = reader.read_table(), list[int]()
    if table is None:
        dataset, lines = _collect(reader, needed)
    else:
        dataset = Dataset(_without_odd_columns(table, needed, reader.origin))
    if dataset.num_rows == 0:
        raise InputError(f"{reader.path}: the file holds no rows")
    return dataset, lines


def features_of(schema: pa.Schema, origin: str) -> Features:
    """Return the types of columns.

    Raises:
        InputError: If a column has a type that ``datasets`` lacks, such as a map.
    """
    try:
        return Features.from_arrow_schema(schema)
    except ValueError as error:
        raise InputError(f"{origin}: a column has an unsupported type: {error}") from error


def _without_odd_columns(table: pa.Table, needed: Collection[str] | None, origin: str) -> pa.Table:
    """Leave out columns that are not used and have a type that ``datasets`` lacks."""
    unused = [] if needed is None else [name for name in table.column_names if name not in needed]
    for name in unused:
        try:
            features_of(pa.schema([table.schema.field(name)]), origin)
        except InputError:
            table = table.drop_columns([name])
    features_of(table.schema, origin)
    return table


def _collect(reader: RowReader, needed: Collection[str] | None) -> tuple[Dataset, list[int]]:
    columns: dict[str, list[Any]] = {}
    lines: list[int] = []
    for count, cells in enumerate(reader.good_rows()):
        if reader.line is not None:
            lines.append(reader.line)
        for name in cells:
            if name not in columns:
                columns[name] = [None] * count
        for name, values in columns.items():
            values.append(cells.get(name))
    typed = {}
    for name, values in columns.items():
        try:
            column = typed_column(reader.origin, name, dict(enumerate(values, start=1)))
        except InputError:
            if needed is not None and name not in needed:
                continue
            raise
        typed[name] = column.data.column(name)
    return Dataset(pa.table(typed)), lines


def typed_column(origin: str, name: str, values: Mapping[int, Any]) -> Dataset:
    """Return a column whose type follows from all its values, given by row number.

    Raises:
        InputError: If the values are of several types; with one row of each.
    """
    if any(isinstance(value, (str, list, dict)) for value in values.values()):
        values = {
            number: None if isinstance(value, float) and math.isnan(value) else value
            for number, value in values.items()
        }
    if {type(value) for value in values.values() if value is not None} == {str, dict}:
        # An export that writes one label as text, and several as an object.
        values = {
            number: json.dumps(value) if isinstance(value, dict) else value
            for number, value in values.items()
        }
    try:
        return Dataset.from_dict({name: list(values.values())})
    except (pa.ArrowException, TypeError, OverflowError, ValueError) as error:
        kinds: dict[str, int] = {}
        for number, value in values.items():
            kinds.setdefault(kind_of(value), number)
        where = ", ".join(f"{kind} in row {number}" for kind, number in kinds.items())
        raise InputError(f"{origin}, column {name!r}: expected one type, got {where}") from error


def kind_of(value: object) -> str:
    """Return the kind of a JSON value in words."""
    if isinstance(value, list):
        return f"a list of {', '.join(sorted({kind_of(item) for item in value})) or 'nothing'}"
    kinds = {str: "text", bool: "true/false", int: "a whole number", float: "a number"}
    return "nothing" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
