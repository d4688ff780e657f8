"""Kinds of columns, recognised by their cells: texts, flags, numbers, dates, ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from zlpr_hf.data.label_cells import NO_WORDS, UNJUDGED_NUMBERS, YES_WORDS, is_missing

Kind = Literal[
    "empty", "flags", "yes/no", "numbers", "dates", "addresses", "splits", "ids", "text", "lists"
]
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?%?")
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}")
ADDRESS = re.compile(r"(?:https?://|www\.|/|[a-zA-Z]:\\)\S*|[\w.+-]+@[\w-]+\.[\w.]+")
UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
"""Characters of scripts without blanks between words: Thai, Japanese and Chinese."""
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
"""A word; in scripts without blanks every character counts as one."""
SPLIT_NAMES = frozenset("train training test testing valid validation val dev eval".split())
MOST = 0.9
"""Share of the cells that decides on the kind of a column."""
MIN_IDS = 5


def count_words(text: str) -> int:
    """Return the number of words; in Chinese, Japanese and Thai that of characters.

    Example:
        >>> count_words("a red dog"), count_words("红狗")
        (3, 2)
    """
    return len(WORD.findall(text))


def mean_words(texts: Sequence[str]) -> float:
    """Return the mean number of words of some different texts."""
    return sum(map(count_words, texts)) / len(texts) if texts else 0.0


def find_kind(cells: Sequence[Any]) -> Kind:
    """Return the kind of a column.

    Example:
        >>> find_kind(["0", "1", ""]), find_kind([3, 1]), find_kind(["2026-01-01"])
        ('flags', 'numbers', 'dates')
    """
    values = [cell for cell in cells if not is_missing(cell)]
    if not values:
        return "empty"
    if any(isinstance(value, (list, tuple, dict, set)) for value in values):
        return "lists"
    numbers = [_to_number(value) for value in values]
    if None not in numbers:
        return "flags" if _are_flags(set(numbers), len(cells) > len(values)) else "numbers"
    texts = [value.strip() for value in values if isinstance(value, str)]
    if texts and {text.lower() for text in texts} <= YES_WORDS and len(values) < len(cells):
        return "yes/no"  # marks beside empty cells
    if len(texts) < len(values):
        return "dates" if all(hasattr(value, "year") for value in values) else "numbers"
    return _kind_of_texts(texts)


def _to_number(value: Any) -> float | None:
    if isinstance(value, str):
        word = value.strip()
        if not NUMBER.fullmatch(word):
            return None
        value = word.rstrip("%").replace(",", ".")
    return float(value) if isinstance(value, (bool, int, float, str)) else None


def _are_flags(numbers: set[float | None], has_missing: bool) -> bool:
    """Whether a column has 0 and 1 only; one that never says no needs empty cells beside."""
    known = numbers - {*map(float, UNJUDGED_NUMBERS)}
    return bool(known) and known <= {0.0, 1.0} and (0.0 in known or has_missing)


def _kind_of_texts(texts: Sequence[str]) -> Kind:
    lower = {text.lower() for text in texts}
    if lower <= YES_WORDS | NO_WORDS and (lower & NO_WORDS or len(lower) > 1):
        return "yes/no"
    if lower <= SPLIT_NAMES:
        return "splits"
    for kind, pattern in _PATTERNS:
        if sum(bool(pattern.match(text)) for text in texts) >= MOST * len(texts):
            return kind
    different = set(texts)
    if len(different) >= max(MIN_IDS, MOST * len(texts)) and all(
        count_words(text) == 1 and any(map(str.isdigit, text)) for text in different
    ):
        return "ids"
    return "text"


_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("numbers", re.compile(rf"(?:{NUMBER.pattern})$")),
    ("dates", DATE),
    ("addresses", re.compile(rf"(?:{ADDRESS.pattern})$")),
)
