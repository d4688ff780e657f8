"""LabelColumns: where a data set keeps its labels, and in which form."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from zlpr_hf.choices import LabelForm, MissingLabels, MissingWords
from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.data.label_cells import (
    CellError,
    CellReader,
    RowLabels,
    cell_reader,
    clean_name,
    is_missing,
    open_cell,
)
from zlpr_hf.data.written_cells import parse_bare
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

MISSING_WORDS = frozenset(
    "nan none null nil na n/a #n/a <na> nat undefined missing - -- ? . (no genres listed)".split()
) | {"(no genres listed)", "not available", "no label", "no labels"}
"""Words, in lower case, that tools and people write where a row has no label."""
SEPARATORS = (";", ",", "|", "\t", "\n")


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

    def read(self, rows: Dataset, origin: str) -> tuple[LabelReader, list[RowLabels | None]]:
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
        self.check_readings(read, found, origin)
        return read, found

    def reader(self, features: Features, cells: Iterable[Any], origin: str) -> LabelReader:
        """Return the reader of rows with these columns, whose label cells are given.

        Raises:
            InputError: If a column is missing or of another type.
        """
        self._check(features, origin)
        if self.columns:
            return self._columns_reader(origin)
        where = f"{origin}, column {self.column!r}"
        feature = features[self.column]
        survey = _Survey()
        if _needs_survey(feature):
            survey = _Survey.from_cells(cells, self.delimiter, where)
        form = self._form(feature, survey, where)
        names = self._names(feature, survey, form, where)
        if form == "multi_hot" and names is None:
            width = survey.width if survey.rows else _width(cells)
            names = tuple(f"LABEL_{index}" for index in range(width))
            logger.warning(
                "%s: no names, so that the labels are called LABEL_0 to LABEL_%d; name them with "
                "label_names_file", where, width - 1,
            )  # fmt: skip
        words = survey.missing_words((*(names or ()), *(self.default_names or ())))
        if words and self.words == "ask":
            listed = ", ".join(f"{name!r} ({count} rows)" for name, count in words.items())
            raise InputError(
                f"{where}: {listed} is only ever alone in a cell: a missing value or a label? "
                "Set missing_words missing or missing_words label"
            )
        return LabelReader(
            form,
            names,
            (self.column,),
            origin,
            cell_reader(form, names, self.delimiter, bare=survey.is_bare),
            missing_words=frozenset(words if self.words == "missing" else ()),
            missing_is_no_label=self.missing == "no_label",
            in_lists=survey.structures > 0,
        )

    def _columns_reader(self, origin: str) -> LabelReader:
        form: LabelForm = "names" if self.form == "names" else "columns"
        names = self.names if form == "names" else self.columns
        read = cell_reader(form, names, None)
        return LabelReader(
            form,
            names,
            self.columns,
            origin,
            read,
            in_columns=True,
            missing_is_no_label=self.missing == "no_label",
        )

    def _names(
        self, feature: Any, survey: _Survey, form: LabelForm, where: str
    ) -> tuple[str, ...] | None:
        declared = _declared_names(feature)
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
            known = self.default_names or ()
            return self.names or (*known, *sorted(survey.keys - set(known)))
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
        self, reader: LabelReader, found: Iterable[RowLabels | None], origin: str
    ) -> None:
        """Refuse label cells that have another reading, which would train another model."""
        judged = [row for row in found if row is not None]
        width = len(reader.names or ())
        self.check_counts(
            reader,
            Counter(name for row in judged for name in row),
            origin,
            several=any(len(row) > 1 for row in judged),
            unknown=any(math.isnan(value) for row in judged for value in row.values()),
            negatives=any(
                len(row) < width or any(value < 0.5 for value in row.values()) for row in judged
            ),
        )

    def check_counts(
        self,
        reader: LabelReader,
        counts: Mapping[str, int],
        origin: str,
        *,
        several: bool,
        unknown: bool,
        negatives: bool,
    ) -> None:
        """Refuse label cells that have another reading, given facts about all rows.

        Args:
            reader: The reader of the rows.
            counts: Rows per label.
            origin: Name of the rows, for messages.
            several: Whether a row has several labels.
            unknown: Whether a label is unknown in a row.
            negatives: Whether a cell says that a label does not apply.
        """
        if reader.form in ("delimited", "names") and reader.names is None:
            self._check_delimiter(counts, origin, several=several)
        if reader.form == "columns" and self.missing == "auto" and unknown and not negatives:
            raise InputError(
                f"{origin}: no cell of the label columns says no (0), and some are empty or -1: "
                "are those labels absent or not judged? Set missing_labels no_label (write -1 as "
                "0), or missing_labels unjudged"
            )

    def _check_delimiter(self, counts: Mapping[str, int], origin: str, *, several: bool) -> None:
        """Refuse names that another delimiter takes apart into other names."""
        for delimiter in SEPARATORS:
            joined = [name for name in counts if delimiter in name]
            parts = {clean_name(part) for name in counts for part in name.split(delimiter)} - {""}
            if len(joined) > 1 and len(parts) < len(counts) and delimiter != self.delimiter:
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

    def _form(self, feature: Any, survey: _Survey, where: str) -> LabelForm:
        form: LabelForm = self.form
        if form == "auto":
            form = survey.form(where, self.delimiter) or _form_of(
                feature, where, self.delimiter, one_per_row=bool(self.join_rows)
            )
        if form == "delimited" and not self.delimiter and not survey.structures:
            raise InputError(f"{where}: label_form delimited needs label_delimiter, such as ';'")
        if form == "ids" and not (self.names or self.default_names or _declared_names(feature)):
            raise InputError(
                f"{where}: integer label ids need label_names_file, a text file with one label "
                "name per line"
            )
        return form


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of rows one by one; ``names`` are all labels if they are declared."""

    form: LabelForm
    names: tuple[str, ...] | None
    columns: tuple[str, ...]
    origin: str
    read: CellReader
    in_columns: bool = False
    missing_words: frozenset[str] = frozenset()
    missing_is_no_label: bool = False
    in_lists: bool = False

    def cell_of(self, row: Mapping[str, Any]) -> Any:
        """Return the label cell of a row, None if the row has no such column."""
        if self.in_columns:
            return tuple(row.get(name) for name in self.columns)
        return row.get(self.columns[0])

    def is_judged(self, cell: Any) -> bool:
        """Whether a cell says anything about the labels of its row."""
        return self.missing_is_no_label or not self._is_missing(cell)

    def cell(self, cell: Any, number: int) -> RowLabels | None:
        """Read the cell of row ``number``, counted from 1; None if the row was not judged.

        Raises:
            InputError: If the cell cannot be read; with the row.
        """
        if self.in_columns and self.form == "names":
            cell = [name for name in cell if not is_missing(name)] or None
        if self._is_missing(cell):
            return {} if self.missing_is_no_label else None
        try:
            labels = self.read(cell)
        except CellError as error:
            where = "" if self.form == "columns" else f", column {self.columns[0]!r}"
            raise InputError(f"{self.origin}, row {number}{where}: {error}") from error
        if self.missing_is_no_label and self.form == "columns":
            labels = {name: value for name, value in labels.items() if not math.isnan(value)}
        return labels

    def _is_missing(self, cell: Any) -> bool:
        if isinstance(cell, str) and cell.strip() in self.missing_words:
            return True
        if self.in_columns and self.form == "names" and cell is not None:
            return all(map(is_missing, cell))
        return is_missing(cell)


@dataclass
class _Survey:
    """Facts about all cells of a label column that holds text, objects or lists of names.

    Args:
        delimiter: Separator between the names in a text.
        rows: Number of cells that are not missing.
        structures: Number of lists and objects, native or written as text.
        kinds: Kinds of the items in lists.
        keys: Keys of mappings from names to values.
        width: Length of the first list.
        is_bare: All cells are names in brackets without quotes.
        alone: Names that are alone in their cell, with the number of rows.
        together: Names that are beside others.
    """

    delimiter: str | None = None
    rows: int = 0
    structures: int = 0
    kinds: set[type] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    width: int = 0
    is_bare: bool = False
    alone: Counter[str] = field(default_factory=Counter)
    together: set[str] = field(default_factory=set)

    @classmethod
    def from_cells(cls, cells: Iterable[Any], delimiter: str | None, where: str) -> _Survey:
        """Read all cells."""
        survey = cls(delimiter, is_bare=_are_bare(cells))
        for number, cell in enumerate(cells, start=1):
            if not is_missing(cell):
                try:
                    survey.add(open_cell(cell, bare=survey.is_bare))
                except CellError as error:
                    origin, _, column = where.partition(", column ")
                    raise InputError(f"{origin}, row {number}, column {column}: {error}") from error
        return survey

    def add(self, value: Any) -> None:
        """Count one opened cell."""
        self.rows += 1
        if isinstance(value, str):
            self._count_names(value.split(self.delimiter) if self.delimiter else [value])
            return
        self.structures += 1
        if isinstance(value, Mapping):
            self.keys.update(value)
        elif isinstance(value, list):
            self.width = self.width or len(value)
            self.kinds.update(type(item) for item in value if item is not None)
            self._count_names([item for item in value if isinstance(item, str)])

    def _count_names(self, raw: Iterable[str]) -> None:
        names = [name.strip() for name in raw if name.strip()]
        if len(names) == 1:
            self.alone[names[0]] += 1
        else:
            self.together.update(names)

    def form(self, where: str, delimiter: str | None) -> LabelForm | None:
        """Return the form of cells that are structures, None if they are plain text."""
        if not self.structures:
            return None
        if self.keys and not self.kinds:
            return "columns"
        if self.keys or (str in self.kinds and len(self.kinds) > 1):
            raise InputError(f"{where}: expected one form of labels, got several kinds of values")
        if self.kinds <= {str}:
            return "delimited" if delimiter else "names"
        if self.kinds & {float, bool}:
            return "multi_hot"
        raise _ids_or_flags(where)

    def missing_words(self, names: Sequence[str] | None) -> dict[str, int]:
        """Return the words for missing values that are only ever alone in a cell."""
        known = {*(names or ()), *self.together}
        return {
            name: count
            for name, count in self.alone.items()
            if name.lower() in MISSING_WORDS and name not in known
        }


def _are_bare(cells: Iterable[Any]) -> bool:
    """Whether the cells are texts, all of them with names in brackets without quotes."""
    found = False
    for cell in cells:
        if isinstance(cell, str) and not is_missing(cell):
            found = parse_bare(cell) is not None
            if not found:
                return False
    return found


def _needs_survey(feature: Any) -> bool:
    """Whether the type of a column leaves open how its cells are read."""
    if isinstance(feature, Value):
        return feature.dtype in ("string", "large_string", "string_view", "null")
    inner = feature.feature if isinstance(feature, (List, LargeList)) else feature
    plain = isinstance(inner, ClassLabel) or (
        isinstance(inner, Value) and not inner.dtype.endswith(("string", "string_view"))
    )
    return not plain


def _width(cells: Iterable[Any]) -> int:
    return next((len(cell) for cell in cells if isinstance(cell, list)), 0)


def _ids_or_flags(where: str) -> InputError:
    return InputError(
        f"{where}: a list of integers may be ids or 0/1 flags; say label_form ids or multi_hot"
    )


def _form_of(feature: Any, where: str, delimiter: str | None, *, one_per_row: bool) -> LabelForm:
    """Return the form of a column type; a type that fits two forms is an error."""
    if isinstance(feature, ClassLabel):
        return "ids"
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string", "string_view"):
        if delimiter is None and one_per_row:
            return "names"
        if delimiter is None:
            raise InputError(
                f"{where}: the labels are a string; say label_delimiter (such as ';'), "
                "label_columns if each label has its own column, or join_rows true if each row has "
                "one label"
            )
        return "delimited"
    inner = feature.feature if isinstance(feature, (List, LargeList)) else None
    if isinstance(inner, ClassLabel):
        return "ids"
    if isinstance(inner, Value):
        if inner.dtype in ("string", "large_string", "string_view", "null"):
            return "names"
        if inner.dtype.startswith(("float", "bool")):
            return "multi_hot"
        raise _ids_or_flags(where)
    raise InputError(
        f"{where}: expected a list of names or ids, a multi-hot list or a delimited string, "
        f"got {feature}"
    )


def _declared_names(feature: Any) -> tuple[str, ...] | None:
    inner = feature.feature if isinstance(feature, (List, LargeList)) else feature
    return tuple(inner.names) if isinstance(inner, ClassLabel) else None


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
    return tuple(stripped)
