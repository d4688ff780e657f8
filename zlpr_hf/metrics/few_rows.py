"""Thresholds from few rows: one offset for all labels, half of the way to that of each label."""

from __future__ import annotations

from typing import Any

import numpy as np

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.thresholds import Thresholds

SHRINKAGES = (None, 0.0, 0.5)
"""Rules that are compared: no offset, one offset, and half of the way to offsets per label."""
PARTS = 5
"""Parts of the rows on which the rules are compared, each with offsets from the other parts."""
OBJECTIVE = ("f1_micro", "f1_macro", "subset_accuracy")


def fit_few_row_thresholds(logits: Any, targets: Any, *, min_labels: int = 0) -> Thresholds:
    """Fit offsets on so few rows that an offset per label would follow chance.

    Three rules are compared: zero; the offset for all labels with the best micro-F1; and that
    offset moved half of the way to the one with the best F1 of each label. The rule with the
    highest mean of micro-F1, macro-F1 and exact match wins, each part of the rows being judged
    with offsets that were fitted on the other parts, and is fitted again on all rows.

    Args:
        logits: Raw scores of rows that no model was trained on, such as out-of-fold logits.
        targets: Targets of those rows in [0, 1]; ``-100`` or NaN marks an unknown one.
        min_labels: Least number of labels per row with which the rules are compared (default: 0).

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset per label, or none, and with ``min_labels``.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    part = np.random.default_rng(0).permutation(len(scores)) % PARTS
    values = []
    for shrinkage in SHRINKAGES:
        decided = np.zeros(scores.shape, dtype=bool)
        for held_out in range(min(PARTS, len(scores))):
            rows = part == held_out
            found = _fit(scores[~rows], truth[~rows], shrinkage, min_labels)
            decided[rows] = found.apply(scores[rows])
        metrics = compute_decision_metrics(decided, truth)
        values.append(float(np.mean([metrics[name] for name in OBJECTIVE])))
    return _fit(scores, truth, SHRINKAGES[int(np.argmax(np.round(values, 9)))], min_labels)


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


def _fit(scores: Any, truth: Any, shrinkage: float | None, min_labels: int) -> Thresholds:
    if shrinkage is None:
        return Thresholds(min_labels=min_labels)
    one = np.asarray(fit_thresholds(scores, truth, metric="f1_micro").offsets)
    own = np.asarray(fit_thresholds(scores, truth, metric="f1_macro", scope="per_label").offsets)
    return Thresholds(tuple(one + shrinkage * (own - one)), min_labels=min_labels)
