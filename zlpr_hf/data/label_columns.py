"""LabelColumns: where a data set keeps its labels, and in which form."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, get_args

from datasets import Dataset, Features

from zlpr_hf.choices import LabelForm, MissingLabels, MissingWords
from zlpr_hf.data.column_types import declared_names, form_of_type, needs_survey
from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.data.label_cells import (
    RowLabels,
    cell_reader,
    is_missing,
)
from zlpr_hf.data.label_counts import LabelCounts
from zlpr_hf.data.label_reader import LabelReader
from zlpr_hf.data.label_survey import (
    LabelSurvey,
    ask_about_words,
    try_open,
    width_of_lists,
)
from zlpr_hf.errors import InputError, suggest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelColumns:
    """Where a data set keeps its labels and in which form.

    Args:
        column: The column with the labels (all forms but ``columns``).
        columns: One column of 0/1 or probabilities per label; with form ``names``, columns that
            hold names.
        form: Form of ``column``; ``auto`` takes it from the column's type and, if the cells are
            text or objects, from all of them, never from the first rows.
        delimiter: Separator between the names in a text.
        names: All label names in the order of their ids, if the data does not declare them.
        default_names: Names of ids and multi-hot lists if neither the data nor ``names`` has any,
            such as the labels of a model under evaluation.
        missing: Empty cells, null and NaN are labels that were not judged, or ``no_label``.
        words: Words such as ``nan`` that are only ever alone in a cell: an error (``ask``),
            labels (``label``) or missing values (``missing``).
        join_rows: Join the rows of one text (True), keep them (False), or refuse texts with
            different labels (None).
        use_verdicts: Honour columns such as ``answer`` and ``status``.
    """

    column: str = "labels"
    columns: tuple[str, ...] = ()
    form: LabelForm = "auto"
    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    default_names: tuple[str, ...] | None = None
    missing: MissingLabels = "auto"
    words: MissingWords = "ask"
    join_rows: bool | None = None
    use_verdicts: bool = True

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that hold the labels."""
        return self.columns or (self.column,)

    def read(
        self, rows: Dataset, origin: str, *, ask_unknown: bool = True
    ) -> tuple[LabelReader, list[RowLabels | None]]:
        """Read the labels of one split.

        Returns:
            The reader, and the labels of each row, None for a row that was not judged.

        Raises:
            InputError: If a column is missing or of another type, a cell cannot be read (with the
                row), or the cells have two readings.
        """
        self._check(rows.features, origin)
        columns = [read_column(rows, name, origin) for name in self.used]
        cells: Sequence[Any] = list(zip(*columns, strict=True)) if self.columns else columns[0]
        read = self.reader(rows.features, cells, origin)
        found = [read.cell(cell, number) for number, cell in enumerate(cells, start=1)]
        self.check_counts(read, LabelCounts.from_rows(found), ask_unknown=ask_unknown)
        return read, found

    def with_keys(self, splits: Iterable[Dataset]) -> LabelColumns:
        """Return the columns with the keys of objects in all splits as the names.

        An object may leave out labels that are unknown, so that a split may lack a key.
        """
        if self.columns or self.names or self.default_names or self.form not in ("auto", "columns"):
            return self
        keys: set[str] = set()
        for rows in splits:
            cells = rows[self.column] if self.column in rows.column_names else ()
            first = next((cell for cell in cells if not is_missing(cell)), None)
            if not isinstance(try_open(first), Mapping):
                return self
            keys.update(*(each for each in map(try_open, cells) if isinstance(each, Mapping)))
        return replace(self, names=tuple(sorted(keys))) if keys else self

    def reader(self, features: Features, cells: Iterable[Any], origin: str) -> LabelReader:
        """Return the reader of rows with these columns, whose label cells are given.

        Raises:
            InputError: If a column is missing or of another type.
        """
        self._check(features, origin)
        if self.columns:
            return self._columns_reader(cells, origin)
        where = f"{origin}, column {self.column!r}"
        feature = features[self.column]
        survey = LabelSurvey()
        if needs_survey(feature):
            survey = LabelSurvey.from_cells(cells, self.delimiter, where)
        form = self._form(feature, survey, where)
        names = self._names(feature, survey, form, where)
        if form == "multi_hot" and names is None:
            width = survey.width if survey.rows else width_of_lists(cells)
            if not width:
                raise InputError(f"{where}: expected lists of numbers, such as [0, 1], got others")
            names = tuple(f"LABEL_{index}" for index in range(width))
            logger.warning(
                "%s: no names, so that the labels are called LABEL_0 to LABEL_%d; name them with "
                "label_names_file", where, width - 1,
            )  # fmt: skip
        return LabelReader(
            form,
            names,
            (self.column,),
            origin,
            cell_reader(form, names, self.delimiter, bare=survey.is_bare, missing=self._missing()),
            missing_words=self._missing_words(survey, names, where),
            missing_is_no_label=self.missing == "no_label",
            in_lists=survey.structures > 0,
        )

    def _missing(self) -> float:
        """Return the value of a label whose number is missing."""
        return 0.0 if self.missing == "no_label" else math.nan

    def _missing_words(
        self, survey: LabelSurvey, names: tuple[str, ...] | None, where: str
    ) -> frozenset[str]:
        """Return the words that mean a missing value here, after asking if nothing says so."""
        words = survey.missing_words((*(names or ()), *(self.default_names or ())))
        if self.words == "ask":
            ask_about_words(words, where)
        return frozenset(words if self.words == "missing" else ())

    def _columns_reader(self, cells: Iterable[Any], origin: str) -> LabelReader:
        form: LabelForm = "names" if self.form == "names" else "columns"
        names = self.names if form == "names" else self.columns
        read = cell_reader(form, names, None, missing=self._missing())
        survey = LabelSurvey(self.delimiter)
        if form == "names":
            for name in chain.from_iterable(cells):
                if isinstance(name, str) and not is_missing(name):
                    survey.add(name)
        return LabelReader(
            form,
            names,
            self.columns,
            origin,
            read,
            in_columns=True,
            delimiter=self.delimiter,
            missing_words=self._missing_words(survey, names, origin),
            missing_is_no_label=self.missing == "no_label",
        )

    def _names(
        self, feature: Any, survey: LabelSurvey, form: LabelForm, where: str
    ) -> tuple[str, ...] | None:
        declared = declared_names(feature)
        if self.names and declared and self.names != declared:
            same = set(self.names) == set(declared)
            raise InputError(
                f"{where}: the data declares its labels "
                f"{'in another order' if same else 'with other names'} "
                f"({', '.join(declared[:8])}) than label_names_file ({', '.join(self.names[:8])}); "
                "leave label_names_file out, or correct it"
            )
        names = self.names or declared
        if form == "columns":
            known = self.names or self.default_names or ()
            new = sorted(survey.keys - set(known))
            if self.names and new:
                raise InputError(
                    f"{where}: unknown label {new[0]!r:.80}{suggest(new[0], self.names)}"
                )
            return (*known, *new)
        if form in ("ids", "multi_hot") and names is None and self.default_names:
            logger.warning(
                "%s: %s are taken in the order of the model: %s; for another order set "
                "label_names_file", where, "ids" if form == "ids" else "positions",
                ", ".join(self.default_names[:8]) + (" ..." if self.default_names[8:] else ""),
            )  # fmt: skip
            return self.default_names
        return names

    def check_apart(self, *text_columns: str | None) -> None:
        """Refuse a column that is both text and label: a model would read the answer."""
        both = set(self.used) & {name for name in text_columns if name}
        if both:
            raise InputError(
                f"column {min(both)!r} is named for the text and for the labels "
                "(see text_column, label_column and label_columns)"
            )

    def check_counts(
        self, reader: LabelReader, counts: LabelCounts, *, ask_unknown: bool = True
    ) -> None:
        """Refuse label cells that have another reading, which would train another model."""
        if reader.form in ("delimited", "names") and reader.names is None:
            column = ", ".join(map(repr, self.used))
            counts.check_names(f"{reader.origin}, column {column}", self.delimiter)
        if reader.form == "columns" and self.missing == "auto" and ask_unknown:
            counts.check_unknown(reader.origin)

    def _check(self, features: Features, origin: str) -> None:
        """Check the options against each other, and that the columns exist."""
        if self.form not in get_args(LabelForm):
            raise InputError(
                f"label_form: expected one of {', '.join(get_args(LabelForm))}, got {self.form}"
            )
        options = "label_column and label_columns"
        for name in self.used:
            check_column(name, features, origin=origin, of="the labels", option=options)
        if (self.columns and self.form not in ("auto", "columns", "names")) or (
            self.form == "columns" and not self.columns
        ):
            raise InputError("label_form columns and label_columns go together")

    def _form(self, feature: Any, survey: LabelSurvey, where: str) -> LabelForm:
        form: LabelForm = self.form
        if form == "auto":
            form = survey.form(where, self.delimiter) or form_of_type(
                feature, where, self.delimiter, one_per_row=bool(self.join_rows)
            )
        if form == "delimited" and not self.delimiter and not survey.structures:
            raise InputError(f"{where}: label_form delimited needs label_delimiter, such as ';'")
        if form == "ids" and not (self.names or self.default_names or declared_names(feature)):
            raise InputError(
                f"{where}: integer label ids need label_names_file, a text file with one label "
                "name per line"
            )
        return form
