"""RowWriter: labelled rows as a part of a file, and parts as the whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.row_reader import DELIMITERS
from zlpr_hf.errors import InputError

LABELS, SCORES, LOGIT = "predicted_labels", "predicted_scores", "logit:"
"""Columns that are added; with all logits one a label, such as ``logit:joy``."""


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet may take a cell that begins so for a formula, and run it."""


class RowWriter:
    """Writes rows with their labels in one of the formats.

    Args:
        format: ``csv``, ``tsv``, ``jsonl``, ``parquet`` or ``lines``.
        schema: Columns of the input with their types; None where each row has its own.
        names: All labels.
        logits: Whether to write the logits of all labels.
        delimiter: Between labels, and between scores, where a cell holds text only.
        spreadsheet_safe: Whether texts of csv and tsv that a spreadsheet might run get an
            apostrophe in front, which the spreadsheet does not show.

    Raises:
        InputError: If the input has a column of a name that is added, the format cannot hold its
            columns, or a label has the delimiter in its name.
    """

    def __init__(
        self,
        format: str,
        schema: pa.Schema | None,
        names: Sequence[str],
        *,
        logits: bool = False,
        delimiter: str = ";",
        spreadsheet_safe: bool = False,
    ) -> None:
        if spreadsheet_safe and format not in DELIMITERS:
            raise InputError(f"spreadsheet_safe: for csv and tsv only, got {format}")
        self.format = format
        self.spreadsheet_safe = spreadsheet_safe
        self.delimiter = delimiter
        if format in (*DELIMITERS, "lines"):
            self._check_names(names)
        added = [(LABELS, pa.list_(pa.string())), (SCORES, pa.list_(pa.float32()))]
        self.logit_columns = [LOGIT + name for name in names] if logits else []
        added += [(name, pa.float32()) for name in self.logit_columns]
        self.added = [name for name, _ in added]
        self.schema = schema
        if schema is not None:
            for name in self.added:
                if name in schema.names:
                    raise InputError(f"the input has a column {name!r} already: rename it")
            self.schema = pa.schema([*schema, *(pa.field(*each) for each in added)])
        self.columns = [*([] if schema is None else schema.names), *self.added]
        if schema is None and format != "jsonl":
            raise InputError(f"rows of JSON Lines are written as JSON Lines, not as {format}")
        if format == "lines" and (logits or len(self.columns) > 1 + len(self.added)):
            raise InputError("lines hold labels and a text only: write csv, tsv, jsonl or parquet")

    def _check_names(self, names: Sequence[str]) -> None:
        """Where labels are joined to one text, they must come apart again."""
        if not self.delimiter:
            raise InputError("label_delimiter: expected a sign such as ';', got nothing")
        for name in names:
            for sign in (self.delimiter, "\n", "\r", *("\t" if self.format == "lines" else "")):
                if sign in name:
                    raise InputError(
                        f"label_delimiter: {sign!r} is in the label {name!r:.80}; choose another "
                        "delimiter, or write jsonl or parquet"
                    )

    def render(self, rows: Sequence[dict[str, Any]], *, header: bool = False) -> bytes:
        """Rows as the content of a part, or of a stream.

        Args:
            rows: All columns and those that are added, which are lists and numbers.
            header: Whether a line of column names goes first, where the format has one.

        Returns:
            Bytes in UTF-8.
        """
        if self.format == "jsonl":
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
            return "".join(lines).encode("utf-8")
        if self.format == "lines":
            return "".join(self._line(row) for row in rows).encode("utf-8")
        if self.format == "parquet":
            return _parquet(pa.Table.from_pylist([dict(row) for row in rows], self.schema))
        cells = [[self._cell(name, row[name]) for name in self.columns] for row in rows]
        return "".join(map(self._record, [self.columns, *cells] if header else cells)).encode()

    def _record(self, cells: Sequence[Any]) -> str:
        text = io.StringIO(newline="")
        # Quoted is what has a sign of the line's end in it: so both are said to be, or a reader
        # would take a lone carriage return for the end of a row.
        writer = csv.writer(text, delimiter=DELIMITERS[self.format], lineterminator="\r\n")
        writer.writerow(map(self._safe, cells))
        return text.getvalue()[:-2] + "\n"

    def _cell(self, name: str, value: Any) -> Any:
        if name in (LABELS, SCORES):
            return self._joined(value)
        nested = isinstance(value, (list, dict))
        return json.dumps(value, ensure_ascii=False, default=str) if nested else value

    def _safe(self, cell: Any) -> Any:
        risky = self.spreadsheet_safe and isinstance(cell, str) and cell.startswith(FORMULA)
        return f"'{cell}" if risky else cell

    def _joined(self, values: Sequence[Any]) -> str:
        return self.delimiter.join(
            value if isinstance(value, str) else f"{value:.6g}" for value in values
        )

    def _line(self, row: dict[str, Any]) -> str:
        text = next(iter(row.values()))
        return f"{self._joined(row[LABELS])}\t{text}\n"

    def join(self, parts: Sequence[Path], whole: Path) -> None:
        """Write the parts one after the other into one file.

        Args:
            parts: Files with the content that :meth:`render` returned, without a header.
            whole: The file to write.
        """
        if self.format == "parquet":
            with pyarrow.parquet.ParquetWriter(whole, self.schema) as writer:
                for part in parts:
                    writer.write_table(pyarrow.parquet.read_table(part, schema=self.schema))
            return
        with whole.open("wb") as stream:
            if self.format in DELIMITERS:
                stream.write(self.render([], header=True))
            for part in parts:
                stream.write(part.read_bytes())


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()
