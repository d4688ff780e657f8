"""RowStream: rows as they are stored, one after the other, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset, Features, Value
from datasets.exceptions import DatasetGenerationError

from zlpr_hf.data.row_reader import FORMATS, BadRow, RowReader
from zlpr_hf.data.sources import READERS, SUFFIXES, kind_of, load_splits, typed_column
from zlpr_hf.errors import InputError


@dataclass(frozen=True)
class RowStream:
    """Rows that are read anew whenever they are iterated over, and never held.

    Args:
        origin: What to call them in a message.
        features: Types of their columns, as far as they are known.
        read: Starts from the first row.
    """

    origin: str
    features: Features
    read: Callable[[], Iterable[Mapping[str, Any]]]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.read())


def stream_file(
    path: Path, text_column: str, text_pair_column: str | None, label_columns: Iterable[str]
) -> RowStream:
    """Rows of a CSV, TSV, JSON Lines or Parquet file.

    Args:
        path: The file; its ending tells the format.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for pairs.
        label_columns: Where the labels are; of JSON Lines, their types follow from all rows.

    Returns:
        Its rows.

    Raises:
        InputError: If the file is missing, of another format, empty or broken; with the row.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a {READERS} file")
    reader = RowReader(
        str(path),
        FORMATS[suffix],
        text_column=text_column,
        text_pair_column=text_pair_column,
        empty_texts=True,
    )
    read = partial(_rows_of, reader)
    if suffix == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as file:
            features = Dataset(file.schema_arrow.empty_table()).features
    elif reader.schema is None:
        features = _features_of(path, read, label_columns)
    else:
        features = Features({name: Value("string") for name in reader.schema.names})
    return RowStream(str(path), features, read)


def stream_data_set(name: str, config: str | None) -> tuple[RowStream, dict[str, Dataset]]:
    """Training rows of a data set on the Hub or in a folder, and its other splits.

    Args:
        name: A local folder, or an id on the Hub.
        config: Configuration of a data set on the Hub.

    Returns:
        Its training rows, and validation and test rows as far as it has them.

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
    return RowStream(f"{name}/train", features, partial(_rows_of_data_set, name, train)), held


def _rows_of(reader: RowReader) -> Iterator[Mapping[str, Any]]:
    for row in reader:
        if isinstance(row, BadRow):
            raise InputError(f"{reader.origin}, row {row.number}: {row.reason}")
        yield row.cells


def _rows_of_data_set(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    with _readable(name):
        yield from rows


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (DatasetGenerationError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"data set {name!r} could not be read: {reason}") from error


def _features_of(
    path: Path, read: Callable[[], Iterable[Mapping[str, Any]]], label_columns: Iterable[str]
) -> Features:
    """Types of JSON Lines: those of the labels from one cell of every kind that there is."""
    features: dict[str, Any] = {}
    kinds: dict[str, dict[str, tuple[int, Any]]] = {name: {} for name in label_columns}
    for number, row in enumerate(read(), start=1):
        for name in row:
            features.setdefault(name, Value("null"))
        for name, known in kinds.items():
            known.setdefault(kind_of(row.get(name)), (number, row.get(name)))
    for name, known in kinds.items():
        if name in features:
            features[name] = typed_column(path, name, dict(known.values())).features[name]
    return Features(features)
