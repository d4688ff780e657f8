"""Verdict columns: what an annotator or a reviewer decided about a row."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from zlpr_hf.data.label_cells import is_missing
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

Verdict = Literal["keep", "reject", "drop"]
"""``reject``: the label does not apply; ``drop``: the row was not judged."""
ORDER: tuple[Verdict, ...] = ("drop", "reject", "keep")
"""Of two verdicts on a row, the first one counts."""

ANSWERS: dict[str, Verdict] = {"accept": "keep", "reject": "reject", "ignore": "drop", "": "drop"}
STATES: dict[str, Verdict] = {
    **dict.fromkeys(
        ("validated", "submitted", "completed", "accepted", "approved", "edited", "done"), "keep"
    ),
    **dict.fromkeys(
        ("discarded", "default", "draft", "pending", "rejected", "skipped", "cancelled", ""), "drop"
    ),
}
FLAGS: dict[str, Verdict] = {
    **dict.fromkeys(("true", "1", "1.0"), "drop"),
    **dict.fromkeys(("false", "0", "0.0", "", "none"), "keep"),
}
VERDICTS: dict[str, dict[str, Verdict]] = {
    "answer": ANSWERS,
    "status": STATES,
    "assignmentstatus": STATES,
    "annotation_status": STATES,
    "response_status": STATES,
    **dict.fromkeys(
        (
            "was_cancelled",
            "cancelled",
            "skipped",
            "was_skipped",
            "discarded",
            "rejected",
            "ignored",
        ),
        FLAGS,
    ),
}
"""Column, in lower case, to its values and their meaning. To support another one, add it here."""


def find_verdicts(
    columns: Mapping[str, Iterable[Any]], used: Collection[str], origin: str
) -> list[Verdict] | None:
    """Return the verdict on each row, or None if no column holds verdicts.

    Args:
        columns: The columns of the rows.
        used: Columns of texts and labels, which are never verdicts.
        origin: Name of the rows, for messages.
    """
    plain = {name: list(map(_plain, columns[name])) for name in verdict_columns(columns, used)}
    known = known_columns({name: set(values) for name, values in plain.items()}, origin)
    if not known:
        return None
    rows = zip(*(plain[name] for name in known), strict=True)
    return [_strictest(zip(known, row, strict=True)) for row in rows]


def known_columns(values: Mapping[str, Collection[str]], origin: str) -> tuple[str, ...]:
    """Return the columns whose values are all verdicts; warn of those that also hold others.

    Args:
        values: All values of each column that is known for verdicts, in lower case.
        origin: Name of the rows, for messages.
    """
    found = []
    for name, each in values.items():
        other = set(each) - set(VERDICTS[name.lower()])
        if not other and any(each):
            found.append(name)
        elif other and set(each) - other - {""}:
            logger.warning(
                "%s: column %r is not taken for verdicts, for it also holds %r",
                origin, name, min(other),
            )  # fmt: skip
    return tuple(found)


def find_streamed_columns(
    rows: Iterable[Mapping[str, Any]], names: Iterable[str], used: Collection[str], origin: str
) -> tuple[str, ...]:
    """Return the verdict columns of a stream, found in one pass over its rows."""
    values: dict[str, set[str]] = {name: set() for name in verdict_columns(names, used)}
    if not values:
        return ()
    for row in rows:
        for name, each in values.items():
            if len(each) <= len(VERDICTS[name.lower()]):  # with more values, one has no meaning
                each.add(_plain(row.get(name)))
    return known_columns(values, origin)


def verdict_columns(names: Iterable[str], used: Collection[str]) -> list[str]:
    """Return the columns that are known for verdicts."""
    return [name for name in names if name.lower() in VERDICTS and name not in used]


def streamed_verdict(
    row: Mapping[str, Any], columns: Iterable[str], origin: str, number: int
) -> Verdict:
    """Return the verdict on one row of a stream, from its verdict columns.

    Raises:
        InputError: If a label was rejected, which needs the other rows of the text.
    """
    verdict = _strictest((name, _plain(row.get(name))) for name in columns)
    if verdict == "reject":
        raise InputError(
            f"{origin}, row {number}: a rejected label needs the other rows of its text, which "
            "streaming does not hold: set streaming false, or use_verdicts false"
        )
    return verdict


def _strictest(values: Iterable[tuple[str, str]]) -> Verdict:
    """Return the verdict of several columns on one row."""
    verdicts = {VERDICTS[name.lower()][value] for name, value in values}
    return next((each for each in ORDER if each in verdicts), "keep")


def _plain(value: Any) -> str:
    return "" if is_missing(value) else str(value).strip().lower()
