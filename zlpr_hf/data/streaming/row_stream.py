"""RowStream: rows as they are stored, read one by one on every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Value
from datasets.exceptions import DatasetGenerationError

from zlpr_hf.data.formats import FileOptions
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sources import features_of, kind_of, load_splits, typed_column
from zlpr_hf.errors import InputError

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class RowStream:
    """Rows that are read anew on every pass, and never held.

    Args:
        origin: Name of the rows, for messages.
        features: Types of their columns, as far as they are known.
        read: Starts a pass from the first row.
    """

    origin: str
    features: Features
    read: Callable[[], Iterable[Cells]]

    def __iter__(self) -> Iterator[Cells]:
        return iter(self.read())


def stream_file(
    path: Path, label_columns: Iterable[str], options: FileOptions | None = None
) -> RowStream:
    """Stream the rows of a file; in JSON Lines, all rows decide the types of the label columns.

    Raises:
        InputError: If the file is missing, of another format, empty or broken; with the row.
    """
    reader = RowReader(str(path), labelled=True, files=options)
    if reader.schema is None:
        features = _find_features(reader, label_columns)
    else:
        needed = None if options is None else options.needed
        names = [name for name in reader.schema.names if needed is None or name in needed]
        schema = pa.schema([reader.schema.field(name) for name in names])
        features = features_of(schema, reader.origin)
    return RowStream(reader.origin, features, reader.good_rows)


def stream_data_set(name: str, config: str | None) -> tuple[RowStream, dict[str, Dataset]]:
    """Stream the training rows of a data set, and read its other splits.

    Args:
        name: A local folder, or an id on the Hub.
        config: Configuration of a data set on the Hub.

    Returns:
        The training rows, and the validation and test rows if it has them.

    Raises:
        InputError: If there is no such data set, it cannot be read, or it has no train split.
    """
    splits = load_splits(name, config, streaming=True)
    if "train" not in splits:
        raise InputError(f"the data has no train split, only others such as {name}/{min(splits)}")
    train = splits.pop("train")
    with _readable(name):
        features = train.features or train._resolve_features().features
        held = {
            split: Dataset.from_list(list(rows), features=features)
            for split, rows in splits.items()
        }
    return RowStream(f"{name}/train", features, partial(_read_data_set, name, train)), held


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


def _find_features(reader: RowReader, label_columns: Iterable[str]) -> Features:
    """Find the columns of JSON Lines, and the types of the labels from one cell of each kind."""
    features: dict[str, Any] = {}
    cells: dict[str, dict[str, tuple[int, Any]]] = {name: {} for name in label_columns}
    for number, row in enumerate(reader.good_rows(), start=1):
        for name in row:
            features.setdefault(name, Value("null"))
        for name, by_kind in cells.items():
            by_kind.setdefault(kind_of(row.get(name)), (number, row.get(name)))
    for name, by_kind in cells.items():
        if name in features:
            column = typed_column(reader.origin, name, dict(by_kind.values()))
            features[name] = column.features[name]
    return Features(features)
