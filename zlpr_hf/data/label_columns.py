"""LabelColumns: where a data set keeps its labels, and in which form."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from datasets import Dataset, Features

from zlpr_hf.choices import LabelForm, MissingLabels, MissingWords
from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.data.label_cells import (
    RowLabels,
    cell_reader,
    clean_name,
    is_missing,
)
from zlpr_hf.data.label_reader import LabelReader
from zlpr_hf.data.label_survey import (
    SEPARATORS,
    LabelSurvey,
    declared_names,
    form_of_type,
    ids_or_flags_error,
    needs_survey,
    try_open,
    width_of_lists,
)
from zlpr_hf.errors import InputError, suggest

logger = logging.getLogger(__name__)


FLAGS = frozenset({"0", "1", "0.0", "1.0"})
"""Texts that are 0/1 flags rather than names."""
ID_AND_NAME = re.compile(r"\d+\s*[,;\t|]|\d+ ")
HEADERS = frozenset({"name", "names", "label", "labels", "id,name", "id;name", "class", "classes"})


@dataclass(frozen=True)
class LabelColumns:
    """Where a data set keeps its labels and in which form.

    Args:
        column: The column with the labels (all forms but ``columns``).
        columns: One column of 0/1 or probabilities per label; with form ``names``, columns that
            hold one name each.
        form: Form of ``column``; ``auto`` takes it from the column's type and, if the cells are
            text or objects, from all of them, never from the first rows.
        delimiter: Separator between the names in a string.
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
        self.check_readings(read, found, origin, ask_unknown=ask_unknown)
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
        if words and self.words == "ask":
            listed = ", ".join(f"{name!r} ({count} rows)" for name, count in words.items())
            raise InputError(
                f"{where}: is {listed} a missing value or a label? "
                "Set missing_words missing or missing_words label"
            )
        return frozenset(words if self.words == "missing" else ())

    def _columns_reader(self, cells: Iterable[Any], origin: str) -> LabelReader:
        form: LabelForm = "names" if self.form == "names" else "columns"
        names = self.names if form == "names" else self.columns
        read = cell_reader(form, names, None, missing=self._missing())
        survey = LabelSurvey()
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

    def check_readings(
        self,
        reader: LabelReader,
        found: Iterable[RowLabels | None],
        origin: str,
        *,
        ask_unknown: bool = True,
    ) -> None:
        """Refuse label cells that have another reading, which would train another model."""
        judged = [row for row in found if row is not None]
        items = [item for row in judged for item in row.items()]
        self.check_counts(
            reader,
            Counter(name for name, value in items if not math.isnan(value)),
            Counter(name for name, value in items if math.isnan(value)) if ask_unknown else {},
            origin,
            rows=len(judged),
            several=any(len(row) > 1 for row in judged),
        )

    def check_counts(
        self,
        reader: LabelReader,
        counts: Mapping[str, int],
        unknown: Mapping[str, int],
        origin: str,
        *,
        rows: int,
        several: bool,
    ) -> None:
        """Refuse label cells that have another reading, given facts about all rows.

        Args:
            reader: The reader of the rows.
            counts: Rows per label in which it is known and not 0.
            unknown: Rows per label in which it is unknown.
            origin: Name of the rows, for messages.
            rows: Number of rows.
            several: Whether a row has several labels.
        """
        if reader.form in ("delimited", "names") and reader.names is None:
            self._check_delimiter(counts, origin, several=several)
            self._check_numbers(counts, origin)
        if reader.form == "columns" and self.missing == "auto":
            self._check_unknown(counts, unknown, rows, origin)

    def _check_unknown(
        self, counts: Mapping[str, int], unknown: Mapping[str, int], rows: int, origin: str
    ) -> None:
        """Refuse label columns that never say no, and warn of single labels that do not."""
        names = {*counts, *unknown}
        never_no = [name for name in names if counts.get(name, 0) + unknown.get(name, 0) == rows]
        doubtful = sorted(name for name in never_no if counts.get(name) and unknown.get(name))
        if len(never_no) == len(names) and any(unknown.values()):
            raise InputError(
                f"{origin}: no cell of the label columns says no (0), and some are empty or -1: "
                "are those labels absent or not judged? Set missing_labels no_label (write -1 as "
                "0), or missing_labels unjudged"
            )
        if doubtful:
            logger.warning(
                "%s: no cell of label %r says no (0), and %d are empty or -1, which count as not "
                "judged (missing_labels no_label: empty cells are 0)",
                origin, doubtful[0], unknown[doubtful[0]],
            )  # fmt: skip

    def _check_numbers(self, counts: Mapping[str, int], origin: str) -> None:
        """Refuse names that are flags, and warn of names that may be ids."""
        where = f"{origin}, column {self.column!r}"
        if len(counts) > 1 and counts.keys() <= FLAGS:
            raise ids_or_flags_error(where)
        if counts and all(name.isdecimal() for name in counts):
            logger.warning(
                "%s: the labels are numbers such as %r, taken for names; for ids set label_form "
                "ids and label_names_file", where, min(counts),
            )  # fmt: skip

    def _check_delimiter(self, counts: Mapping[str, int], origin: str, *, several: bool) -> None:
        """Refuse names that another delimiter takes apart into other names."""
        for delimiter in SEPARATORS:
            joined = [name for name in counts if delimiter in name]
            parts = {clean_name(part) for name in counts for part in name.split(delimiter)} - {""}
            if len(joined) > 1 and len(parts) <= len(counts) and delimiter != self.delimiter:
                given = f"label_delimiter {self.delimiter!r}" if self.delimiter else "lists"
                raise InputError(
                    f"{origin}, column {self.column!r}: {len(counts)} labels such as "
                    f"{joined[0]!r:.60} with {given}, but {len(parts)} such as {min(parts)!r:.40} "
                    f"with label_delimiter {delimiter!r}: set the right one, or declare the names "
                    "in label_names_file"
                )
        if self.delimiter and not several:
            logger.warning(
                "%s: no row has the label_delimiter %r in column %r; is it the right one?",
                origin, self.delimiter, self.column,
            )  # fmt: skip

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


def read_label_names(path: Path) -> tuple[str, ...]:
    """Read label names in the order of their ids: one per line, or a ``.json`` list.

    Raises:
        InputError: If the file is missing, or has a duplicate or empty name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Not splitlines, which splits at rarer characters too: ids would shift.
        names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected label names, one per line: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: expected a JSON list of label names")
    stripped = [clean_name(name) for name in names]
    while stripped and not stripped[-1]:
        stripped.pop()
    seen: set[str] = set()
    for number, name in enumerate(stripped, start=1):
        # Skipping an empty line would shift the ids of all that follow.
        if not name:
            raise InputError(f"{path}, line {number}: expected a label name, got an empty line")
        if name in seen:
            raise InputError(f"{path}, line {number}: duplicate label {name!r}")
        seen.add(name)
    if stripped and (stripped[0].lower() in HEADERS or stripped[0].startswith("# ")):
        raise InputError(
            f"{path}, line 1: {stripped[0]!r} looks like a header, which would shift all ids; "
            "remove this line"
        )
    if len(stripped) > 1 and all(map(ID_AND_NAME.match, stripped[-2:])):
        raise InputError(
            f"{path}, line {len(stripped)}: {stripped[-1]!r} looks like an id and a name; write "
            "the names alone, one per line, in the order of the ids"
        )
    return tuple(stripped)
