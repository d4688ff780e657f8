"""RowWriter: labelled rows in one of the formats, and parts joined to a file."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from zlpr_hf.data.formats import DELIMITERS, FORMULA
from zlpr_hf.errors import InputError
from zlpr_hf.labels import advise_delimiter

LABELS, SCORES, LOGIT = "predicted_labels", "predicted_scores", "logit:"
"""Added columns; with logits one more per label, such as ``logit:joy``."""

TERMINAL_WIDTH = 78


class RowWriter:
    """Write rows with their labels in one of the formats.

    Args:
        format: A key of :data:`zlpr_hf.data.formats.FORMATS`.
        schema: Columns of the input with their types; None if each row has its own.
        names: All labels.
        logits: Add the logits of all labels.
        delimiter: Separator between labels, and between scores, in formats with text cells.
        spreadsheet_safe: In CSV and TSV, put an apostrophe (which spreadsheets hide) in front of
            cells that a spreadsheet might run.

    Raises:
        InputError: If the input already has an added column, the format cannot hold its columns, or
            a label contains the delimiter.
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
            raise InputError(f"spreadsheet_safe: only for csv and tsv, got {format}")
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
                    raise InputError(f"the input already has a column {name!r}: rename it")
            self.schema = pa.schema([*schema, *(pa.field(*each) for each in added)])
        self.columns = [*([] if schema is None else schema.names), *self.added]
        if schema is None and format != "jsonl":
            raise InputError(f"JSON Lines can only be written as JSON Lines, not as {format}")
        if format == "lines" and (logits or len(self.columns) > 1 + len(self.added)):
            raise InputError("lines hold only labels and a text: write csv, tsv, jsonl or parquet")

    def _check_names(self, names: Sequence[str]) -> None:
        """Refuse names that could not be separated again after they are joined."""
        if not self.delimiter:
            raise InputError("label_delimiter: expected a character such as ';', got nothing")
        for name in names:
            for sign in (self.delimiter, "\n", "\r", *("\t" if self.format == "lines" else "")):
                if sign in name:
                    advice = f"{advise_delimiter(names)}, or " if sign == self.delimiter else ""
                    raise InputError(
                        f"label_delimiter: {sign!r} is in the label {name!r:.80}; {advice}write "
                        "jsonl or parquet"
                    )

    def render(self, rows: Sequence[dict[str, Any]], *, header: bool = False) -> bytes:
        """Return rows, with their added columns, as the UTF-8 content of a part or a stream.

        ``header`` puts a line of column names first if the format has one.
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
        # The module quotes only characters of the line terminator: with both of them, a lone
        # carriage return in a cell cannot be taken for the end of a row.
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
        """Write the parts, which :meth:`render` made without a header, into one new file."""
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


class TerminalRows(RowWriter):
    """Write labels and scores for a reader at a terminal, such as ``price 0.98  quality 0.71``.

    Args:
        schema: Columns of the input.
        names: All labels.
        text_column: Column of texts to repeat above their labels; None to leave them out.
    """

    def __init__(
        self, schema: pa.Schema | None, names: Sequence[str], *, text_column: str | None = None
    ) -> None:
        super().__init__("jsonl", schema, names)
        self.text_column = text_column

    def render(self, rows: Sequence[dict[str, Any]], *, header: bool = False) -> bytes:
        """Return rows as lines of text; there is no header."""
        return "".join(map(self._lines, rows)).encode("utf-8")

    def _lines(self, row: dict[str, Any]) -> str:
        pairs = zip(row[LABELS], row[SCORES], strict=True)
        labels = "  ".join(f"{name} {score:.2f}" for name, score in pairs) or "no label"
        if self.text_column is None:
            return f"{labels}\n"
        text = textwrap.shorten(str(row[self.text_column]), TERMINAL_WIDTH, placeholder=" ...")
        return f"{text}\n  {labels}\n"
