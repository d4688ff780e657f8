"""Reading: how the rows of a source were understood."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zlpr_hf.data.label_cells import RowLabels
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_reader import LabelReader

NAMES_SHOWN, COLUMNS_SHOWN = 6, 4
EXAMPLE_WIDTH = 60

Example = tuple[int, tuple[str, ...], RowLabels]
"""Number of a row, its texts and its labels."""


@dataclass(frozen=True)
class Reading:
    """How the rows of a source were understood, for you to check before you train.

    Args:
        origin: File or data set.
        format: Format of the file in words.
        text_columns: Column of the text, or of both texts.
        label_columns: Column of the labels, or one per label.
        label_form: Form of the labels.
        label_words: The form in words.
        label_order: Source of the order of the labels, in words.
        labels: All labels in this order.
        example: A row with labels.
    """

    origin: str
    format: str
    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    label_form: str
    label_words: str
    label_order: str
    labels: tuple[str, ...]
    example: Example | None = None

    @classmethod
    def from_reader(
        cls,
        reader: LabelReader,
        columns: LabelColumns,
        text_columns: Sequence[str],
        *,
        names: tuple[str, ...],
        format: str = "",
        example: Example | None = None,
    ) -> Reading:
        """Collect the facts from a reader and the options that it was made from."""
        return cls(
            reader.origin,
            format,
            tuple(text_columns),
            reader.columns,
            reader.form,
            _words_of_form(reader, columns),
            _words_of_order(reader, columns),
            names,
            example,
        )

    def facts(self) -> dict[str, Any]:
        """Return the fields without the row and the labels, which may be private or many."""
        found = asdict(self)
        del found["example"], found["labels"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
        }

    def render(self, *, columns: bool = True) -> str:
        """Return the facts and the example in a few lines, with or without the columns."""
        lines = [f"{self.origin}: {self.format}" if self.format else self.origin]
        lines.append(self.render_columns() if columns else self._render_labels())
        if self.example is not None:
            number, texts, labels = self.example
            shown = ", ".join(
                _quoted(name) if value == 1 else f"{_quoted(name)} {value:g}"
                for name, value in labels.items()
                if value > 0
            )
            text = textwrap.shorten(" | ".join(texts), EXAMPLE_WIDTH, placeholder=" ...")
            lines.append(_one_line(f"row {number}: {text!r} -> {shown or 'no label'}"))
        return "\n".join(lines)

    def render_columns(self) -> str:
        """Return the columns, the form of the labels, and their names in two lines."""
        columns = _shorten(self.label_columns, COLUMNS_SHOWN)
        line = f"text: {', '.join(self.text_columns)} | labels: {columns}, {self.label_words}"
        return f"{_one_line(line)}\n{self._render_labels()}"

    def _render_labels(self) -> str:
        names = _shorten(self.labels, NAMES_SHOWN)
        return _one_line(f"{len(self.labels)} labels, {self.label_order}: {names}")


def _one_line(text: str) -> str:
    """Return a text without line breaks, which the name of a label may hold."""
    return " ".join(text.split())


def _quoted(name: str) -> str:
    """Return a name in quotes if it has a comma, which separates names in a line."""
    return repr(name) if "," in name else name


def _shorten(names: Sequence[str], shown: int) -> str:
    quoted = [*map(_quoted, names)]
    return ", ".join(quoted[:shown]) + (f", ..., {quoted[-1]}" if len(names) > shown else "")


def _words_of_form(reader: LabelReader, columns: LabelColumns) -> str:
    if reader.form in ("names", "delimited"):
        words = "one name per row"
        if reader.in_columns:
            words = "names in several columns"
            if columns.delimiter:
                words += f", separated by {columns.delimiter!r}"
        elif reader.in_lists:
            words = "lists of names"
        elif columns.delimiter:
            words = f"names separated by {columns.delimiter!r}"
    elif reader.form == "columns":
        words = "one column per label" if reader.in_columns else "values by name"
    else:
        separated = f" separated by {columns.delimiter!r}" if columns.delimiter else ""
        words = {"ids": "ids", "multi_hot": "one number per label"}[reader.form] + separated
    return words + (" (empty: no label)" if reader.missing_is_no_label else "")


def _words_of_order(reader: LabelReader, columns: LabelColumns) -> str:
    if columns.default_names:
        return "in the order of the model"
    if columns.names:
        return "in the order of label_names_file"
    if reader.in_columns and reader.form == "columns":
        return "in the order of the columns"
    if reader.form == "multi_hot":
        return "numbered by position"
    if reader.names is None or reader.form == "columns":
        return "in alphabetical order"
    return "in the order that the data declares"
