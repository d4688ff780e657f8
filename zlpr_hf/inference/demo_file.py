"""The tab "A file" of the demo page: the first rows of a CSV file with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from zlpr_hf.data.row_reader import BadRow, Row, RowReader
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.label_file import LabellingOptions, label_rows
from zlpr_hf.inference.row_writer import LABELS, SCORES, RowWriter
from zlpr_hf.zlpr_config import ZLPRConfig

MAX_ROWS = 100
SUFFIXES = (".csv", ".tsv")
OUTPUT_FILE = "labels.csv"
DELIMITERS = (";", "|", ",", " / ", "\N{BROKEN BAR}")


@dataclass(frozen=True)
class LabelledFile:
    """The first rows of a file with their labels.

    Args:
        columns: Columns of the file.
        column: The column that was read as text.
        rows: Cells of each row, with ``predicted_labels`` and ``predicted_scores``.
        bad: Rows that were left out, with the reason.
        more: Whether the file has more rows.
        output: A CSV file with the labelled rows.
    """

    columns: list[str]
    column: str
    rows: list[dict[str, Any]]
    bad: list[BadRow]
    more: bool
    output: Path


def label_first_rows(
    classifier: Classifier,
    path: str,
    folder: Path,
    *,
    column: str | None = None,
    threshold: float = 0.5,
) -> LabelledFile:
    """Label the first rows of a CSV or TSV file, and write them to a file of their own.

    Args:
        classifier: The model.
        path: The file.
        folder: The output goes into a new folder in it.
        column: Column of the texts (default: as in training, or the one with the longest texts).
        threshold: Smallest score of a label.

    Raises:
        InputError: If the file cannot be read, or has no usable row.
    """
    names = RowReader(path).find_columns() or []
    column = column if column in names else find_text_column(classifier, path, names)
    reader = RowReader(path, text_columns=[column])
    found = list(islice(reader, MAX_ROWS + 1))
    more, found = len(found) > MAX_ROWS, found[:MAX_ROWS]
    good = [row for row in found if isinstance(row, Row)]
    bad = [row for row in found if isinstance(row, BadRow)]
    if not good:
        reason = bad[0].explanation if bad else "the file holds no rows"
        raise InputError(f"{Path(path).name}: {reason}")
    writer = RowWriter(
        "csv",
        reader.schema,
        classifier.label_space.names,
        delimiter=_find_delimiter(classifier.label_space.names),
        spreadsheet_safe=True,
    )
    rows = label_rows(classifier, good, LabellingOptions(threshold=threshold), ())
    output = Path(mkdtemp(dir=folder)) / OUTPUT_FILE
    output.write_bytes(writer.render(rows, header=True))
    return LabelledFile(names, column, rows, bad, more, output)


def find_text_column(classifier: Classifier, path: str, names: Sequence[str]) -> str:
    """Return the text column of the training, or else the column with the longest cells."""
    trained = ZLPRConfig.read(classifier.model.config).data.get("text_column")
    for name in (trained, "text"):
        if name in names:
            return str(name)
    rows = [row.cells for row in islice(RowReader(path), MAX_ROWS) if isinstance(row, Row)]
    if not names or not rows:
        raise InputError(f"{Path(path).name}: the file holds no rows")
    lengths = [float(np.mean([len(str(row[name])) for row in rows])) for name in names]
    return names[int(np.argmax(lengths))]


def _find_delimiter(names: Sequence[str]) -> str:
    """Return a separator that no label contains."""
    free = (sign for sign in DELIMITERS if not any(sign in name for name in names))
    found = next(free, None)
    if found is None:
        raise InputError(f"the labels contain all of {', '.join(DELIMITERS)}: use zlpr predict")
    return found


def table_rows(found: LabelledFile, *, width: int = 200) -> list[dict[str, Any]]:
    """Return number, text and labels with scores of each row, for a table."""
    return [
        {
            "text": text if len(text) <= width else text[:width].rstrip() + "…",
            "labels": list(zip(row[LABELS], row[SCORES], strict=True)),
        }
        for row in found.rows
        for text in [" ".join(str(row[found.column]).split())]
    ]
