"""Learn then Test: an offset at which enough of the predicted labels apply, with confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from zlpr_hf.metrics.guarantee import Guarantee, refuse_few_rows
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

ORDER_SHARE, MIN_ORDER_ROWS, MAX_ORDER_SHARE = 0.1, 50, 0.3
"""Rows that choose the order of the tests and are not tested: a tenth, but 50 if these are at most
three tenths. With fewer, more attempts start at an offset that fails."""
STEP = 1.02
"""Each tested offset predicts two percent more labels than the one before."""


@dataclass(frozen=True)
class _Draws:
    """One predicted label per text, drawn at random, at every offset.

    Args:
        logits: Logits of all known cells, rising after negation: the first cells are predicted
            first as the offset falls.
        predicted: Number of texts with a prediction, after 0, 1, ... cells.
        wrong: Number of them whose drawn label does not apply.
    """

    logits: Floats
    predicted: NDArray[np.int_]
    wrong: NDArray[np.int_]

    @classmethod
    def from_rows(cls, scores: Floats, present: Bools, known: Bools, place: Floats) -> _Draws:
        """Draw at ``place``, from 0 to 1 per row, among the predicted labels, best first."""
        scores = np.where(known, scores, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")
        scores = np.take_along_axis(scores, order, 1)
        absent = ~np.take_along_axis(present, order, 1)
        drawn = (place[:, None] * np.arange(1, scores.shape[1] + 1)).astype(int)
        wrong = np.take_along_axis(absent, drawn, 1).astype(int)
        changes = np.diff(wrong, axis=1, prepend=0).ravel()
        firsts = np.zeros(scores.shape, int)
        firsts[:, 0] = 1
        cells = np.argsort(-scores.ravel(), kind="stable")[: int(known.sum())]
        return cls(
            -scores.ravel()[cells],
            *(np.cumsum([0, *each[cells]]) for each in (firsts.ravel(), changes)),
        )

    def count(self, offsets: Floats) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Return the number of texts with a prediction, and of those with a wrong draw."""
        cells = np.searchsorted(self.logits, -offsets, side="left")
        return self.predicted[cells], self.wrong[cells]

    def candidates(self) -> Floats:
        """Return falling offsets, each of which predicts two percent more labels of these rows."""
        values = -self.logits[self.logits < MAX_LOGIT_THRESHOLD / 2]
        if not values.size:
            return values
        steps = math.ceil(math.log(max(len(values), 2)) / math.log(STEP))
        ranks = np.unique(np.minimum(np.ceil(STEP ** np.arange(steps)), len(values) - 1))
        found: Floats = values[ranks.astype(int)]
        return found


def certify_precision(
    scores: Floats,
    present: Bools,
    known: Bools,
    level: float,
    confidence: float,
    seed: int,
    *,
    lowest: float | None = None,
) -> Guarantee:
    """Learn then Test, by fixed-sequence testing, of the share of predicted labels that are wrong.

    With ``lowest``, no lower offset is tested, and this one is the last.

    The tests are independent of the rows that choose their order, so the first wrong hypothesis is
    a fixed one, and it is rejected with probability ``1 - confidence`` at most.
    """
    most = 1 - level
    rows = np.flatnonzero(known.any(1))
    rng = np.random.default_rng(seed)
    shuffled, place = rng.permutation(rows), rng.random(len(rows))
    first = _count_order_rows(len(rows))
    tests = math.ceil(math.log(1 - confidence) / math.log(level))  # if all of them are right
    least = next(n for n in count(tests) if n - _count_order_rows(n) >= tests)
    refuse_few_rows(len(rows), least, "texts", f"precision {level:g}")
    parts = (slice(0, first), slice(first, None))
    order, tested = (
        _Draws.from_rows(scores[shuffled[p]], present[shuffled[p]], known[shuffled[p]], place[p])
        for p in parts
    )
    offsets = order.candidates()
    if lowest is not None:
        offsets = np.append(offsets[offsets > lowest], lowest)
    # The most convincing offset comes first; after it, more and more labels.
    predicted, wrong = order.count(offsets)
    convincing = (most * predicted - wrong) / np.sqrt(np.maximum(predicted, 1))
    offsets = offsets[int(np.argmax(convincing)) :] if offsets.size else offsets
    predicted, wrong = tested.count(offsets)
    rejected = (binom.cdf(wrong, predicted, most) <= 1 - confidence) & (predicted > 0)
    passed = int(np.argmin(np.append(rejected, False)))
    if not passed:
        raise ValueError(
            f"no offset has precision {level:g} with {100 * confidence:g} % confidence on these "
            f"{len(rows):,} texts; give more texts, or a lower precision or confidence"
        )
    return Guarantee(
        "precision",
        level,
        (float(offsets[passed - 1]),) * scores.shape[1],
        len(rows),
        confidence=confidence,
    )


def _count_order_rows(rows: int) -> int:
    few = min(MIN_ORDER_ROWS, MAX_ORDER_SHARE * rows)
    return math.ceil(max(ORDER_SHARE * rows, few) - 1e-9)
