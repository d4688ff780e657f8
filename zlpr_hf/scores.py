"""Scores: what is shown for a logit, and the logit that a threshold on scores stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError

LARGEST_CUT = 1e4
"""Finite, so that the order of logits survives subtracting it; beyond it sigmoid is 0 or 1."""


def boundary_of(threshold: float) -> float:
    """The logit whose score is a threshold; 0 for 0.5.

    Args:
        threshold: A score, ``sigmoid(2 logit)``.

    Returns:
        The logit, between plus and minus :data:`LARGEST_CUT`.

    Raises:
        InputError: If the threshold is no number from 0 to 1.

    Example:
        >>> boundary_of(0.5)
        0.0
    """
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise InputError(f"threshold: expected a score from 0 to 1, got {threshold!r}")
    with np.errstate(divide="ignore"):
        cut = np.log(threshold) - np.log1p(-threshold) if threshold < 1 else np.inf
    return float(np.clip(cut / 2, -LARGEST_CUT, LARGEST_CUT))


def compute_scores(logits: Any) -> NDArray[np.float64]:
    """``sigmoid(2 logit)``, the score of a label; 0.5 where the logit is zero.

    Args:
        logits: Of any shape.

    Returns:
        Scores of the same shape, in float64.

    Example:
        >>> compute_scores([0.0, -1e4]).tolist()
        [0.5, 0.0]
    """
    values = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore"):
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-2 * values))
    return scores
