"""RowStream: rows as they are stored, read one by one on every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, IterableDataset, Value
from datasets.exceptions import DatasetGenerationError

from zlpr_hf.data.data_sets import SplitFiles, load_splits
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sources import (
    features_of,
    kind_of,
    origin_of_split,
    read_split,
    typed_column,
)
from zlpr_hf.errors import InputError

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class RowStream:
    """Rows that are read anew on every pass, and never held.

    Args:
        origin: Name of the rows, for messages.
        features: Types of their columns, as far as they are known.
        read: Starts a pass from the first row.
        format: Format of the file in words.
    """

    origin: str
    features: Features
    read: Callable[[], Iterable[Cells]]
    format: str = ""

    def __iter__(self) -> Iterator[Cells]:
        return iter(self.read())


def stream_files(
    paths: Sequence[str], label_columns: Iterable[str], options: FileOptions | None = None
) -> RowStream:
    """Stream the rows of files; in JSON Lines, all rows decide the types of the label columns.

    Raises:
        InputError: If a file is missing, of another format, empty or broken; with the row.
    """
    readers = [RowReader(path, labelled=True, files=options) for path in paths]
    first = readers[0]
    if first.schema is None:
        features = _find_features(readers, label_columns)
    else:
        needed = None if options is None else options.needed
        names = [name for name in first.schema.names if needed is None or name in needed]
        schema = pa.schema([first.schema.field(name) for name in names])
        features = features_of(schema, first.origin)
    return RowStream(first.origin, features, partial(_read_files, readers), first.description)


def _read_files(readers: Iterable[RowReader]) -> Iterator[Cells]:
    for reader in readers:
        yield from reader.good_rows()


def stream_data_set(
    name: str,
    config: str | None,
    label_columns: Iterable[str],
    options: FileOptions | None = None,
) -> tuple[RowStream, dict[str, Dataset], dict[str, str]]:
    """Stream the training rows of a data set, and read its other splits.

    Args:
        name: A local folder, or an id on the Hub.
        config: Configuration of a data set on the Hub.
        label_columns: Columns whose types all rows decide, in JSON Lines.
        options: How to read files of text cells.

    Returns:
        The training rows, the validation and test rows if it has them, and their names.

    Raises:
        InputError: If there is no such data set, it cannot be read, or it has no train split.
    """
    splits = load_splits(name, config, options, streaming=True)
    if "train" not in splits:
        raise InputError(f"the data has no train split, only others such as {name}/{min(splits)}")
    origins = {key: origin_of_split(each, f"{name}/{key}") for key, each in splits.items()}
    train = splits.pop("train")
    with _readable(name):
        held = {split: _hold(rows) for split, rows in splits.items()}
        if isinstance(train, SplitFiles):
            rows = stream_files(train.paths, label_columns, train.options)
            features = Features({**rows.features, **(train.features or {})})
            return replace(rows, features=features), held, origins
        features = _features(train)
    return RowStream(f"{name}/train", features, partial(_read_data_set, name, train)), held, origins


def _hold(rows: Any) -> Dataset:
    if isinstance(rows, IterableDataset):
        return Dataset.from_list(list(rows), features=_features(rows))
    return read_split(rows)


def _features(rows: Any) -> Features:
    return rows.features or rows._resolve_features().features


def _read_data_set(name: str, rows: Iterable[Cells]) -> Iterator[Cells]:
    with _readable(name):
        yield from rows


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (DatasetGenerationError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"data set {name!r} could not be read: {reason}") from error


def _find_features(readers: Sequence[RowReader], label_columns: Iterable[str]) -> Features:
    """Find the columns of JSON Lines, and the types of the labels from one cell of each kind."""
    features: dict[str, Any] = {}
    cells: dict[str, dict[str, tuple[int, Any]]] = {name: {} for name in label_columns}
    for number, row in enumerate(_read_files(readers), start=1):
        for name in row:
            features.setdefault(name, Value("null"))
        for name, by_kind in cells.items():
            by_kind.setdefault(kind_of(row.get(name)), (number, row.get(name)))
    for name, by_kind in cells.items():
        if name in features:
            column = typed_column(readers[0].origin, name, dict(by_kind.values()))
            features[name] = column.features[name]
    return Features(features)
