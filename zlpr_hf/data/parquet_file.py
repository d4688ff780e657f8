"""ParquetFile: a Parquet file, decoded a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.row_file import (
    RowFile,
    check_names,
)
from zlpr_hf.data.text_streams import STDIN
from zlpr_hf.errors import InputError

BATCH_ROWS, TABLE_ROWS = 1024, 65_536
"""Rows of a Parquet file that are decoded at a time: as Python objects, and as a table."""


class ParquetFile(RowFile):
    """A Parquet file."""

    description = "Parquet"

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
