"""Raters: cells of one text that several raters judge differently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATER_COLUMNS = (
    "annotator", "annotator_id", "annotatorid", "rater", "rater_id", "raterid", "worker_id",
    "workerid", "user_id", "_annotator_id", "coder", "labeler", "labeller", "reviewer",
)  # fmt: skip
"""Columns, in lower case, that name who judged a row. To support another one, add it here."""


@dataclass(frozen=True)
class Ratings:
    """Judgements of several raters.

    Args:
        yes: Per text and label ``(T, L)``, the number of raters who gave the tag.
        total: Per text and label, the number of raters who judged the cell.
        disagreement: Per rater, the share of cells in which most other raters said the opposite.
    """

    yes: NDArray[np.int64]
    total: NDArray[np.int64]
    disagreement: dict[str, float]


def find_rater_column(names: Sequence[str], used: Sequence[str]) -> str | None:
    """Return the column that names the rater of each row, None if there is none."""
    return next(
        (name for name in names if name.lower() in RATER_COLUMNS and name not in used), None
    )


def count_ratings(
    targets: NDArray[Any],
    rows_of_text: Sequence[Sequence[int]],
    raters: Sequence[str] | None = None,
) -> Ratings:
    """Count the raters who gave each tag.

    Args:
        targets: Targets ``(R, L)`` of all rows; unknown is NaN.
        rows_of_text: The rows of each text.
        raters: The rater of each row, if the data names them.
    """
    known = ~np.isnan(targets)
    tagged = known & (targets >= 0.5)
    shape = (len(rows_of_text), targets.shape[1])
    yes, total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    against: Mapping[str, list[int]] = defaultdict(lambda: [0, 0])
    for text, rows in enumerate(rows_of_text):
        index = list(rows)
        yes[text], total[text] = tagged[index].sum(0), known[index].sum(0)
        if raters is None or len(index) < 2:
            continue
        for row in index:
            others = total[text] - known[row]
            said_yes = yes[text] - tagged[row]
            judged = known[row] & (others > 0) & (2 * said_yes != others)
            majority = 2 * said_yes > others
            against[raters[row]][0] += int((judged & (majority != tagged[row])).sum())
            against[raters[row]][1] += int(judged.sum())
    return Ratings(yes, total, {name: a / n for name, (a, n) in sorted(against.items()) if n})
