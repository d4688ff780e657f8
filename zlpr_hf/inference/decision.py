"""The decision of a classifier: limits given for one call, and predicted labels by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace
from zlpr_hf.thresholds import Thresholds, compute_scores, logit_threshold, refuse_nan

DECIDING = ("threshold", "top_k", "min_labels")
"""Options of :meth:`zlpr_hf.Classifier.decide`."""


def decision_rule(
    stored: Thresholds,
    labels: int,
    *,
    threshold: float,
    top_k: int | None,
    min_labels: int | None,
) -> Thresholds:
    """Return the rule of one call; ``stored`` are the limits that the model has.

    Raises:
        InputError: If a value is out of range.
    """
    if top_k is not None and not (isinstance(top_k, int) and top_k >= 1):
        raise InputError(f"top_k: expected 1 or more, got {top_k!r}")
    if min_labels is not None and not (isinstance(min_labels, int) and min_labels <= labels):
        raise InputError(f"min_labels: expected 0 to {labels}, got {min_labels!r}")
    offset = logit_threshold(threshold)
    most = stored.max_labels if top_k is None else top_k
    least = stored.min_labels if min_labels is None else min_labels
    try:
        return Thresholds((offset,) * labels if offset else (), least, most)
    except ValueError as error:
        raise InputError(f"top_k, min_labels: {error}") from error


def scored_labels(
    logits: Any, predictions: NDArray[np.bool_], label_space: LabelSpace
) -> list[list[dict[str, Any]]]:
    """Return the predicted labels of each text with their scores, best first.

    Args:
        logits: Logits ``(N, L)``.
        predictions: Which labels are predicted, ``(N, L)``.
        label_space: The labels.

    Raises:
        InputError: If a logit is NaN.
    """
    refuse_nan(logits)
    scores = compute_scores(logits)
    label_sets: list[list[dict[str, Any]]] = []
    for row, row_scores, chosen in zip(np.asarray(logits), scores, predictions, strict=True):
        ids = np.flatnonzero(chosen)
        ids = ids[np.argsort(-row[ids], kind="stable")]
        label_sets.append(
            [
                {"label": label_space.names[index], "score": float(row_scores[index])}
                for index in ids
            ]
        )
    return label_sets
