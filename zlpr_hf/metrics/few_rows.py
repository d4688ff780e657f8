"""Thresholds from few rows: means over bootstrap samples, with half of what labels differ by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from zlpr_hf.labels import known_mask
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, Thresholds

Floats = NDArray[np.float64]
Cells = NDArray[np.bool_]

SAMPLES = 100
"""Bootstrap samples of the rows."""
SHRINKAGE = 0.5
"""Share that is kept of what the offset of a label differs from the mean over the labels."""
CANDIDATES = 100
"""Offsets for all labels that are compared, and zero."""
FEWEST = 0.1
"""Predicted labels at the highest of them, relative to the labels that the rows have."""


def fit_few_row_thresholds(logits: Any, targets: Any, *, min_labels: int = 0) -> Thresholds:
    """Fit offsets on so few rows that the best ones follow chance.

    With few rows many offsets are about equally good, and which one is best changes with a handful
    of rows. So the rows are drawn again and again with replacement, and the offsets are means over
    these samples: one for all labels, where a sample has the highest mean of micro-F1, macro-F1
    and exact match among offsets that predict no more labels than the rows have, and one per
    label, where it has the highest F1. The result is the first plus half of what the second differ
    from their mean. Of equally good offsets, zero is taken.

    Args:
        logits: Raw scores of rows that no model was trained on, such as out-of-fold logits.
        targets: Targets of those rows in [0, 1]; ``-100`` or NaN marks an unknown one.
        min_labels: Least number of labels per row, in force while offsets for all labels are
            compared (default: 0).

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset per label, or none where all are zero, and with ``min_labels``.

    References:
        Breiman: Bagging Predictors, 1996.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    has_content = (scores > -MAX_LOGIT_THRESHOLD).any(1)
    scores, truth = scores[has_content], truth[has_content]
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    if not present.any():
        return Thresholds(min_labels=min_labels)
    rows = len(scores)
    weights = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), SAMPLES)
    one = _fit_common(scores, present, known, weights.astype(np.float64), min_labels)
    columns = zip(scores.T, present.T, known.T, strict=True)
    own = np.array([_fit_label(*column, weights) for column in columns])
    own = np.where(np.isnan(own), np.nanmean(own), own)
    offsets = one + SHRINKAGE * (own - own.mean())
    return Thresholds(tuple(offsets) if offsets.any() else (), min_labels=min_labels)


def _fit_common(
    scores: Floats, present: Cells, known: Cells, weights: Floats, min_labels: int
) -> float:
    """Return the mean over the samples of the best offset for all labels."""
    shares = present.sum() / known.sum() * np.geomspace(FEWEST, 1, CANDIDATES)
    found = np.unique(np.append(np.quantile(scores[known], 1 - shares), 0.0))
    candidates = found[np.argsort(np.abs(found), kind="stable")]  # the first of equal ones is taken
    order = np.argsort(-scores, axis=1, kind="stable")
    best = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(best, order[:, :min_labels], True, axis=1)
    actual = weights @ present
    values = np.zeros((len(candidates), len(weights)))
    for value, offset in zip(values, candidates, strict=True):
        decided = ((scores > offset) | best) & known
        hits = (sparse.csr_array((decided & present).T.astype(np.float64)) @ weights.T).T
        sums = (sparse.csr_array(decided.T.astype(np.float64)) @ weights.T).T + actual
        exact = weights @ (decided == present).all(1) / len(scores)
        micro = 2 * hits.sum(1) / np.maximum(sums.sum(1), 1)
        value += micro + (2 * hits / np.maximum(sums, 1)).mean(1) + exact
    return float(candidates[values.round(9).argmax(0)].mean())


def _fit_label(scores: Floats, present: Cells, known: Cells, weights: NDArray[np.int64]) -> float:
    """Return the mean over the samples of the offset with the best F1 of a label.

    Samples without the label do not count; the result is NaN if all are.
    """
    order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
    drawn = weights[:, order]
    drawn = drawn[(drawn * present[order]).any(1)]
    if not len(drawn):
        return float("nan")
    hits = np.cumsum(drawn * present[order], axis=1)
    f1 = 2 * hits / (np.cumsum(drawn, axis=1) + hits[:, -1:])
    ranked = np.append(scores[order], scores[order[-1]] - 1)  # the last offset is below all scores
    f1[:, ranked[:-1] == ranked[1:]] = -1  # no offset separates equal scores
    last = f1.argmax(1)  # the last row above the offset; the first one below it must be drawn too
    places = np.where(drawn > 0, np.arange(len(order)), len(order))
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
