"""Columns that look like labels, with the options that read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zlpr_hf.data.column_kinds import NUMBER, count_words
from zlpr_hf.data.label_cells import (
    MAX_ID_DIGITS,
    CellError,
    clean_name,
    is_missing,
    open_cell,
)
from zlpr_hf.data.label_counts import LabelCounts
from zlpr_hf.data.label_survey import LABEL_SEPARATORS, are_bare
from zlpr_hf.data.responses import find_responses
from zlpr_hf.data.sample_rows import SampleRows
from zlpr_hf.data.verdicts import VERDICTS
from zlpr_hf.errors import InputError

SEPARATORS = (*LABEL_SEPARATORS, "#")
CLEAR_SEPARATORS = frozenset(SEPARATORS) - {","}
"""Signs that names hardly ever contain; a comma may be part of a name."""
WEAK_SEPARATORS = (" ", "/", "+", "&")
"""Signs that often are a part of names; whether they separate labels is asked."""
MAX_MEAN_WORDS = 5
MIN_REPEATED, MIN_REPEATED_IN_LISTS = 0.6, 0.3
"""Share of the labels of all rows whose name has to occur more than once."""
MAX_ROWS_WITH_DUPLICATES = 0.05
"""Rows that hold a name twice: tokens of a text do, labels do not."""
SENTENCE_ENDS = (".", "!", "?", "\u3002")
MIN_ROWS = 2
MAX_CELL = 500
"""Mean length of cells of names in characters."""


@dataclass(frozen=True)
class Candidate:
    """Columns that may hold the labels.

    Args:
        columns: One column, or one per label.
        words: Their form in words.
        names: The labels of the sample.
        options: Options beside the column that read the labels.
        in_columns: Several columns hold the labels, usually one per label.
        in_lists: Cells are lists or objects, native or written as text.
        has_several: Whether the form holds several labels per row.
        unlabelled: Rows without a label cell.
        question: How to decide between two readings of the column; empty if there is one.
        others: Columns that look like labels too, and were not chosen.
    """

    columns: tuple[str, ...]
    words: str
    names: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    in_columns: bool = False
    in_lists: bool = False
    has_several: bool = True
    unlabelled: int = 0
    question: str = ""
    others: tuple[str, ...] = ()


def find_candidates(sample: SampleRows, texts: Collection[str]) -> list[Candidate]:
    """Return the columns that look like labels; 0/1 columns are one candidate together.

    Args:
        sample: The rows.
        texts: Columns of texts, which are no candidates.
    """
    names = [name for name in sample.columns if name not in texts and not _is_about(name, sample)]
    kinds = sample.kinds
    found = []
    for kind in ("flags", "yes/no"):
        flags = tuple(name for name in names if kinds[name] == kind)
        if flags and any(_says_both(sample.cells(name)) for name in flags):
            found.append(flag_columns(flags))
    for name in names:
        if kinds[name] in ("text", "lists") or name in sample.declared:
            candidate = read_candidate(sample, name)
            if candidate is not None:
                found.append(candidate)
    return found


def _is_about(name: str, sample: SampleRows) -> bool:
    """Whether a column says something about an annotation: a verdict, a status, a suggestion."""
    if name.lower() in VERDICTS:
        return True
    questions = [
        each.removesuffix(".status") for each in sample.columns if each.endswith(".status")
    ]
    return any(
        name != question and name.startswith((f"{question}.", f"{topic}.", f"{topic}-"))
        for question in questions
        for topic in [question.removesuffix(".responses")]
    ) or (name.endswith("-suggestion") and name.removesuffix("-suggestion") in sample.columns)


def flag_columns(names: tuple[str, ...]) -> Candidate:
    """Return columns of 0 and 1 as a candidate."""
    return Candidate(
        names, "one column per label", names, in_columns=True, has_several=len(names) > 1
    )


def _says_both(cells: Sequence[Any]) -> bool:
    return len({str(cell) for cell in cells}) > 1


def read_candidate(sample: SampleRows, name: str) -> Candidate | None:
    """Return a column as a candidate, None if it does not look like labels."""
    if name in sample.declared:
        return Candidate((name,), "names that the data declares", ())
    cells = sample.cells(name)
    status = f"{name}.status"
    responses = find_responses(cells, sample.cells(status) if status in sample.columns else None)
    if responses is not None:
        cells = [response[0][0] if response else None for response in responses]
    bare = are_bare(cells)
    try:
        opened = [None if is_missing(cell) else open_cell(cell, bare=bare) for cell in cells]
    except CellError:
        return None
    values = [value for value in opened if value is not None]
    if any(not isinstance(value, str) for value in values):
        return _read_structures(name, values, len(cells))
    return _read_texts(name, values, len(cells))


def _read_structures(name: str, values: Sequence[Any], rows: int) -> Candidate | None:
    lists = [_names_in(value) for value in values]
    if any(each is None for each in lists):
        return _read_vectors(name, values, rows)
    found = [each for each in lists if each is not None]
    if not looks_like_labels(found, MIN_REPEATED_IN_LISTS):
        return None
    is_mapping = any(isinstance(value, Mapping) and value for value in values)
    words = "values by name" if is_mapping else "lists of names"
    labels = {key for value in values if isinstance(value, Mapping) for key in value}
    names = labels or {label for each in found for label in each}
    return Candidate(
        (name,), words, tuple(sorted(names)), in_lists=True, unlabelled=rows - len(values)
    )


def _names_in(value: Any) -> list[str] | None:
    """Return the names of the labels that apply in an opened cell, None if it holds others."""
    if isinstance(value, Mapping):
        if all(number is None or 0 <= number <= 1 for number in value.values()):
            return [str(label) for label, number in value.items() if (number or 0) >= 0.5]
        return None
    items = [value] if isinstance(value, str) else value
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return [clean_name(item) for item in items if item.strip()]
    return None


def _read_vectors(name: str, values: Sequence[Any], rows: int) -> Candidate | None:
    """Return lists of numbers as a candidate if they are one number per label."""
    lists = _lists_of_numbers(values)
    if lists is None:
        return None
    numbers = [number for value in lists for number in value]
    widths = set(map(len, lists))
    if len(widths) > 1 or min(widths) < MIN_ROWS or not set(numbers) <= {0, 1}:
        return None
    options = {}
    if any(type(number) is int for number in numbers):
        options = {"label_form": "multi_hot"}
        if not any(len(set(value)) < len(value) for value in lists):
            return None  # ids are never there twice; these may be ids
    labels = tuple(f"LABEL_{index}" for index in range(max(widths)))
    words, unlabelled = "one number per label", rows - len(values)
    return Candidate((name,), words, labels, options, in_lists=True, unlabelled=unlabelled)


def _lists_of_numbers(values: Sequence[Any]) -> list[list[float]] | None:
    """Return the values if all of them are lists of numbers."""
    lists = [value for value in values if isinstance(value, list)]
    are_numbers = all(isinstance(each, (int, float)) for value in lists for each in value)
    return lists if are_numbers and len(lists) == len(values) else None


def ask_about_ids(cells: Sequence[Any]) -> str:
    """Return the options that read cells as ids of labels, empty if the cells are no ids."""
    try:
        opened = [open_cell(cell) for cell in cells if not is_missing(cell)]
    except CellError:
        return ""
    lists = _lists_of_numbers(opened)
    sign = None
    if lists is None and all(isinstance(value, str) for value in opened):
        sign, lists = _split_numbers(opened)
    ids = [number for value in lists or () for number in value]
    if not ids or any(type(each) is not int or each < 0 for each in ids):
        return ""
    if any(len(set(value)) < len(value) for value in lists or ()):
        return ""
    delimiter = "" if sign is None else f" --label_delimiter {sign!r}"
    return f"--label_form ids{delimiter} --label_names_file FILE (one name per line)"


def _split_numbers(
    values: Sequence[str],
) -> tuple[str | None, list[list[float]] | None]:
    """Return the sign that separates cells into numbers, and the numbers of each cell."""
    for sign in (*SEPARATORS, " "):
        split = _split(values, sign)
        if any(len(row) > 1 for row in split) and all(map(_are_numbers, split)):
            return sign, [[_as_number(part) for part in row] for row in split]
    return None, None


def _are_numbers(parts: Sequence[str]) -> bool:
    return all(NUMBER.fullmatch(part) and "," not in part and "%" not in part for part in parts)


def _as_number(word: str) -> float:
    return int(word) if word.isdecimal() and len(word) <= MAX_ID_DIGITS else float(word)


def _read_texts(name: str, values: Sequence[str], rows: int) -> Candidate | None:
    if sum(map(len, values)) > MAX_CELL * len(values):
        return None
    unlabelled = rows - len(values)
    separator, vectors = _split_numbers(values)
    if vectors is not None:
        found = _read_vectors(name, vectors, rows)
        options = {"label_form": "multi_hot", "label_delimiter": separator}
        return None if found is None else replace(found, options=options)
    single = [[value.strip()] for value in values]
    is_single = looks_like_labels(single, MIN_REPEATED)
    split = {sign: _split(values, sign) for sign in SEPARATORS}
    fitting = {sign: each for sign, each in split.items() if is_separator(each)}
    signs = [sign for sign in fitting if _is_last(fitting[sign], sign)] or list(fitting)
    if len(signs) == 1 and not is_single:
        return delimited(name, signs[0], fitting[signs[0]], unlabelled)
    if len(signs) == 1:
        (sign,) = signs
        if sign in CLEAR_SEPARATORS or len(_count(fitting[sign])) <= len(_count(single)):
            return delimited(name, sign, fitting[sign], unlabelled)
    elif is_single:
        signs = [sign for sign in WEAK_SEPARATORS if _halves(_split(values, sign), single)]
    if signs:
        choices = [f"--label_delimiter {sign!r}" for sign in signs]
        choices += ["--label_form names (one name per row)"] * is_single
        return Candidate((name,), "names", (), question=" or ".join(choices))
    if not is_single or _are_codes(single):
        return None
    return single_names(name, single, unlabelled)


def _split(values: Sequence[str], sign: str) -> list[list[str]]:
    return [split_cell(value, sign) for value in values]


def _halves(parts: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> bool:
    """Whether a sign splits names into half as many; else it is rather a part of the names."""
    return any(len(row) > 1 for row in parts) and 2 * len(_count(parts)) <= len(_count(names))


def delimited(name: str, sign: str, rows: Sequence[Sequence[str]], unlabelled: int) -> Candidate:
    """Return a column of names with a separator."""
    labels, options = tuple(sorted(_count(rows))), {"label_delimiter": sign}
    return Candidate((name,), f"split at {sign!r}", labels, options, unlabelled=unlabelled)


def single_names(name: str, rows: Sequence[Sequence[str]], unlabelled: int) -> Candidate:
    """Return a column with one name per row."""
    labels = tuple(sorted(_count(rows)))
    options = {"label_form": "names"}
    return Candidate(
        (name,), "one name per row", labels, options, has_several=False, unlabelled=unlabelled
    )


def split_cell(cell: str, sign: str) -> list[str]:
    """Return the names in a cell."""
    return [clean_name(part) for part in cell.split(sign) if part.strip()]


def is_separator(rows: Sequence[Sequence[str]]) -> bool:
    """Whether names that a sign separates look like labels."""
    several = [row for row in rows if len(row) > 1]
    if len(several) < max(MIN_ROWS, 0.02 * len(rows)) or _have_places(rows):
        return False
    return looks_like_labels(rows, MIN_REPEATED)


def _have_places(rows: Sequence[Sequence[str]]) -> bool:
    """Whether each place has its own words, as in ``Berlin, Germany`` or ``Smith, John``."""
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        return False
    first, *others = (set(column) for column in zip(*rows, strict=True))
    return not any(first & other for other in others)


def _is_last(rows: Sequence[Sequence[str]], sign: str) -> bool:
    """Whether no other separator splits the names further into fewer labels."""
    counts = LabelCounts.from_rows(dict.fromkeys(row, 1.0) for row in rows)
    try:
        counts.check_separators("", sign)
    except InputError:
        return False
    return True


def looks_like_labels(rows: Sequence[Sequence[str]], min_repeated: float) -> bool:
    """Whether the names of rows recur, are short and differ between rows."""
    counts = _count(rows)
    total = sum(counts.values())
    if len(counts) < 2 or len({tuple(sorted(row)) for row in rows}) < 2:
        return False
    repeated = sum(count for count in counts.values() if count > 1)
    duplicates = sum(len(set(row)) < len(row) for row in rows)
    words = sum(map(count_words, counts)) / len(counts)
    numbers = sum(bool(NUMBER.fullmatch(name)) for name in counts)
    sentences = sum(name.endswith(SENTENCE_ENDS) for name in counts)
    return (
        repeated >= min_repeated * total
        and duplicates <= MAX_ROWS_WITH_DUPLICATES * len(rows)
        and words <= MAX_MEAN_WORDS
        and numbers < len(counts) / 2
        and sentences < len(counts) / 5
    )


def _are_codes(rows: Sequence[Sequence[str]]) -> bool:
    """Whether single names are rather ids, such as ``u17``: one word with a digit."""
    names = _count(rows)
    codes = [each for each in names if count_words(each) == 1 and any(map(str.isdigit, each))]
    return 2 * len(codes) > len(names)


def _count(rows: Sequence[Sequence[str]]) -> Counter[str]:
    return Counter(name for row in rows for name in row)
