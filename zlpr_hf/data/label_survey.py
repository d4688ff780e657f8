"""LabelSurvey: facts about all cells of a label column, which decide how the column is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zlpr_hf.choices import LabelForm
from zlpr_hf.data.label_cells import CellError, is_missing, open_cell
from zlpr_hf.data.written_cells import parse_bare
from zlpr_hf.errors import InputError

MISSING_WORDS = frozenset(
    "nan none null nil na n/a #n/a <na> nat undefined missing - -- ? . (no genres listed)".split()
) | {"(no genres listed)", "not available", "no label", "no labels"}
"""Words, in lower case, that tools and people write where a row has no label."""
NEVER_LABELS = frozenset({"nan", "<na>", "nat"})
"""Words that pandas writes for a missing value, also beside labels."""
LABEL_SEPARATORS = (";", ",", "|", "\t", "\n")


@dataclass
class LabelSurvey:
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
        beside: Words of :data:`NEVER_LABELS` beside others, with their number.
        has_separators: Whether a plain text has a sign that may separate names.
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
    beside: Counter[str] = field(default_factory=Counter)
    has_separators: bool = False

    @classmethod
    def from_cells(cls, cells: Iterable[Any], delimiter: str | None, where: str) -> LabelSurvey:
        """Read all cells."""
        survey = cls(delimiter, is_bare=are_bare(cells))
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
            names = value.split(self.delimiter) if self.delimiter else [value]
            self._count_names(names)
            if len(names) > 1:
                words = (name.strip() for name in names)
                self.beside.update(word for word in words if word.lower() in NEVER_LABELS)
            self.has_separators |= any(separator in value.strip() for separator in LABEL_SEPARATORS)
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
        if self.kinds <= {str} and self.has_separators and not delimiter:
            raise string_labels_error(where)
        if self.kinds <= {str}:
            return "delimited" if delimiter else "names"
        if self.kinds & {float, bool}:
            return "multi_hot"
        raise ids_or_flags_error(where)

    def missing_words(self, names: Sequence[str] | None) -> dict[str, int]:
        """Return the words for missing values: alone in a cell, or ``nan`` wherever it is."""
        known = set(names or ())
        found = {
            name: count
            for name, count in self.alone.items()
            if name.lower() in MISSING_WORDS and name not in known | self.together
        }
        for name in set(self.beside) - known:
            found[name] = self.beside[name] + self.alone[name]
        return found


def try_open(cell: Any) -> Any:
    """Return an opened cell; one that cannot be read stays as it is, and is reported later."""
    try:
        return open_cell(cell)
    except CellError:
        return cell


def are_bare(cells: Iterable[Any]) -> bool:
    """Whether the cells are texts, all of them with names in brackets without quotes."""
    found = False
    for cell in cells:
        if isinstance(cell, str) and not is_missing(cell):
            found = parse_bare(cell) is not None
            if not found:
                return False
    return found


def width_of_lists(cells: Iterable[Any]) -> int:
    """Return the length of the first list, 0 if there is none."""
    return next((len(cell) for cell in cells if isinstance(cell, list)), 0)


def string_labels_error(where: str) -> InputError:
    """Return the error for labels in a text without a known separator."""
    return InputError(
        f"{where}: the labels are a string; say label_delimiter (such as ';'), label_columns if "
        "each label has its own column, or join_rows true if each row has one label"
    )


def ids_or_flags_error(where: str) -> InputError:
    """Return the error for numbers that may be ids or flags."""
    return InputError(
        f"{where}: a list of integers may be ids or 0/1 flags; say label_form ids or multi_hot"
    )


def ask_about_words(words: Mapping[str, int], where: str) -> None:
    """Refuse words that may be missing values or labels, given with the number of their rows."""
    if words:
        listed = ", ".join(f"{name!r} ({count} rows)" for name, count in words.items())
        raise InputError(
            f"{where}: is {listed} a missing value or a label? "
            "Set missing_words missing or missing_words label"
        )
