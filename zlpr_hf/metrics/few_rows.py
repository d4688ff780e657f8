"""Thresholds from few rows, averaged over bootstrap samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.bootstrap import Bools, DecisionCounts, draw_weights
from zlpr_hf.metrics.counts import Floats
from zlpr_hf.metrics.names import OBJECTIVE
from zlpr_hf.thresholds import Thresholds, have_content

SAMPLES = 100
"""Number of bootstrap samples."""
SHRINKAGE = 0.5
"""Fraction of a label's deviation from the mean label offset that is kept."""
CANDIDATES = 100
"""Number of candidates for the shared offset, apart from zero."""
PREDICTED_PER_TRUE = (0.1, 1.0)
"""Number of labels predicted at the highest and the lowest candidate, relative to the true ones.

A higher limit raises F1 on CWE and lowers it on Cooking, where the few texts have more labels than
those to come.
"""


def fit_few_row_thresholds(logits: Any, targets: Any, *, min_labels: int = 0) -> Thresholds:
    """Fit a shared offset plus shrunken deviations per label, averaged over bootstrap samples.

    On few rows the best offset is noisy: many offsets are nearly as good, and a handful of rows
    decides between them. Averaging over bootstrap samples reduces this variance. The shared offset
    maximises the mean of micro-F1, macro-F1 and exact match, among zero and candidates that predict
    at most as many labels as the targets have. The offset of a label maximises its F1. The result
    is the shared offset plus half of the label's deviation from the mean label offset. Ties go to
    zero.

    Args:
        logits: Raw scores of held-out rows, such as out-of-fold logits.
        targets: Targets of those rows in [0, 1]; ``-100`` or NaN marks an unknown one.
        min_labels: Minimum number of labels per row, applied while fitting the shared offset
            (default: 0).

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset per label, or none where all are zero, and with ``min_labels``.

    References:
        Breiman: Bagging Predictors, 1996.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    counted = have_content(scores) & known_mask(truth).any(1)
    scores, truth = scores[counted], truth[counted]
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    if not present.any():
        return Thresholds(min_labels=min_labels)
    weights = np.concatenate(list(draw_weights(len(scores), SAMPLES, seed=0)))
    shared = _fit_shared(scores, truth, weights, min_labels)
    columns = zip(scores.T, present.T, known.T, strict=True)
    own = np.array([_fit_label(*column, weights) for column in columns])
    own = np.where(np.isnan(own), np.nanmean(own), own)
    offsets = shared + SHRINKAGE * (own - own.mean())
    return Thresholds(tuple(offsets) if offsets.any() else (), min_labels=min_labels)


def _fit_shared(scores: Floats, truth: Floats, weights: Floats, min_labels: int) -> float:
    """Return the best shared offset, averaged over the samples ``(draws, N)``."""
    known = known_mask(truth)
    density = (known & (truth >= 0.5)).sum() / known.sum()
    shares = density * np.geomspace(*PREDICTED_PER_TRUE, CANDIDATES)
    candidates = np.unique(np.append(np.quantile(scores[known], 1 - shares), 0.0))
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]  # argmax: the first tie
    above_all = (scores.max() + 1,) * scores.shape[1]
    best = Thresholds(above_all, min_labels=min_labels).apply(scores)
    values = []
    for offset in candidates:
        found = DecisionCounts.from_targets((scores > offset) | best, truth).metrics(weights)
        values.append(np.sum([found[name] for name in OBJECTIVE], axis=0))
    return float(candidates[np.round(values, 9).argmax(0)].mean())


def _fit_label(scores: Floats, present: Bools, known: Bools, weights: Floats) -> float:
    """Return the offset with the best F1 of one label, averaged over the samples with that label.

    The result is NaN if no sample has it.
    """
    order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
    drawn = weights[:, order]
    drawn = drawn[(drawn * present[order]).any(1)]
    if not len(drawn):
        return float("nan")
    hits = np.cumsum(drawn * present[order], axis=1)
    f1 = 2 * hits / (np.cumsum(drawn, axis=1) + hits[:, -1:])
    ranked = np.append(scores[order], scores[order[-1]] - 1)  # lowest offset: predict all rows
    f1[:, ranked[:-1] == ranked[1:]] = -1  # no offset separates equal scores
    last = f1.argmax(1)  # lowest row above the offset
    places = np.where(drawn > 0, np.arange(len(order)), len(order))
    # Highest drawn row below the offset: rows that a sample lacks do not bound its offset.
    below = np.where(np.arange(len(order)) > last[:, None], places, len(order)).min(1)
    high, low = ranked[last], ranked[below]
    return float(np.where((low <= 0) & (high > 0), 0.0, (low + high) / 2).mean())


def find_min_labels(targets: Any) -> int:
    """Return 1 if every row has a label, else 0; rows with unknown labels and no other count not.

    Example:
        >>> find_min_labels([[1, 0], [0, 1]]), find_min_labels([[1, 0], [0, 0]])
        (1, 0)
    """
    truth = np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    labelled = (known & (truth >= 0.5)).any(1)
    judged = known.all(1) | labelled
    return int(bool(judged.any()) and bool(labelled[judged].all()))
