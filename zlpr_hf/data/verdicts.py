"""Verdict columns: what an annotator or a reviewer decided about a row."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

Verdict = Literal["keep", "reject", "drop"]
"""``reject``: the label does not apply; ``drop``: the row was not judged."""

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
    found: list[list[Verdict]] = []
    for name in verdict_columns(columns, used):
        values = [_plain(value) for value in columns[name]]
        known = VERDICTS[name.lower()]
        if not any(values):
            continue
        if not set(values) <= set(known) and (set(values) - {""}) & set(known):
            logger.warning(
                "%s: column %r is not taken for verdicts, for it also holds %r",
                origin, name, min(set(values) - set(known)),
            )  # fmt: skip
        elif set(values) <= set(known):
            found.append([known[value] for value in values])
    if not found:
        return None
    order: list[Verdict] = ["drop", "reject", "keep"]
    return [min(row, key=order.index) for row in zip(*found, strict=True)]


def verdict_columns(names: Iterable[str], used: Collection[str]) -> list[str]:
    """Return the columns that are known for verdicts."""
    return [name for name in names if name.lower() in VERDICTS and name not in used]


def streamed_verdict(
    row: Mapping[str, Any], used: Collection[str], origin: str, number: int
) -> Verdict:
    """Return the verdict on one row of a stream; values without a meaning do not count.

    Raises:
        InputError: If a label was rejected, which needs the other rows of the text.
    """
    verdicts = [
        VERDICTS[name.lower()].get(_plain(row[name]), "keep") for name in verdict_columns(row, used)
    ]
    if "drop" in verdicts:
        return "drop"
    if "reject" in verdicts:
        raise InputError(
            f"{origin}, row {number}: a rejected label needs the other rows of its text, which "
            "streaming does not hold: set streaming false, or use_verdicts false"
        )
    return "keep"


def _plain(value: Any) -> str:
    return str("" if value is None else value).strip().lower()
