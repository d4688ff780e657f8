"""Calibration: the temperature that makes scores probabilities, and how far they are from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, compute_scores, refuse_nan

Floats = NDArray[np.floating[Any]]

CALIBRATION_BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Beyond these, logits of usual size have scores of 0 and 1 only, or near one half only."""
MISTAKES = 0.5
"""Cells of either kind that are added as mistakes: Jeffreys' prior. On validation splits of 8 to 75
texts, new texts had a lower cross-entropy with it than with Platt's 1, and far less than with 0."""
MIN_SHOWN_SCORE, SURE_SCORE = 0.05, 0.95
"""Scores that a user may look at, and scores that look certain."""


def fit_temperature(logits: Any, targets: Any) -> float:
    """Fit the temperature ``T`` for which ``sigmoid(logit / T)`` is closest to the targets.

    ``T`` minimises the mean binary cross-entropy over all known cells: a convex problem in
    ``1 / T``. Decisions at zero stay the same. Targets are smoothed as Platt proposed, as if half a
    positive and half a negative cell more were on the wrong side, so that a split without mistakes
    does not end in certainty. Fit it on validation rows, on the logits after offsets.

    Args:
        logits: Raw scores of validation rows. Those of texts without content, near -10,000, are
            left out.
        targets: Values in [0, 1], hard or soft; ``-100`` or NaN marks an unknown target, which is
            ignored.

    Shape:
        logits, targets: the same, usually ``(N, L)``.

    Returns:
        A number from 0.05 to 20; 1 if no target is positive, or none is negative. Above 1, the
        logits were too sure.

    Raises:
        ValueError: If the shapes differ or a logit is NaN.

    References:
        Platt: Probabilistic Outputs for Support Vector Machines, 1999.
        Guo et al.: On Calibration of Modern Neural Networks, 2017.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> logits = rng.normal(size=(2000, 5))
        >>> targets = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
        >>> round(fit_temperature(3 * logits, targets))
        3
    """
    scores, truth = _known_cells(logits, targets)
    inner = np.abs(scores) < MAX_LOGIT_THRESHOLD / 2  # the others are of texts without content
    scores, truth = scores[inner], truth[inner]
    positive, negative = truth.sum(), (1 - truth).sum()
    if not positive or not negative:
        return 1.0
    smoothed = truth * (positive + MISTAKES) / (positive + 2 * MISTAKES)
    smoothed += (1 - truth) * MISTAKES / (negative + 2 * MISTAKES)

    def slope(sharpness: float) -> float:
        return float(scores @ (compute_scores(sharpness * scores) - smoothed))

    low, high = (1 / temperature for temperature in reversed(TEMPERATURES))
    if slope(low) >= 0:
        return 1 / low
    return 1 / high if slope(high) <= 0 else 1 / brentq(slope, low, high)


@dataclass(frozen=True)
class Calibration:
    """How well scores agree with the fraction of labels that are true.

    A cell is one text and one label with a known target.

    Args:
        cells: Number of cells.
        ece: Expected calibration error over all cells, most of which have a score near 0.
        shown_cells: Number of cells with a score of at least 0.05.
        shown_ece: Expected calibration error over those.
        sure_cells: Number of cells with a score above 0.95.
        sure_true: Fraction of those that is true; 0 if there are none.
        brier: Mean squared difference of score and target.
    """

    cells: int
    ece: float
    shown_cells: int
    shown_ece: float
    sure_cells: int
    sure_true: float
    brier: float

    @classmethod
    def measure(cls, logits: Any, targets: Any) -> Calibration | None:
        """Measure the scores of logits; None if no target is known.

        Args:
            logits: Raw scores; their scores are ``sigmoid(logit)``.
            targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target, which is ignored.

        Shape:
            logits, targets: the same, usually ``(N, L)``.

        Raises:
            ValueError: If the shapes differ or a logit is NaN.
        """
        values, truth = _known_cells(logits, targets)
        if not len(values):
            return None
        scores = compute_scores(values)
        shown, sure = scores >= MIN_SHOWN_SCORE, scores > SURE_SCORE
        return cls(
            cells=len(scores),
            ece=expected_calibration_error(scores, truth),
            shown_cells=int(shown.sum()),
            shown_ece=expected_calibration_error(scores[shown], truth[shown]),
            sure_cells=int(sure.sum()),
            sure_true=float(truth[sure].mean()) if sure.any() else 0.0,
            brier=float(np.mean((scores - truth) ** 2)),
        )

    @classmethod
    def from_config(cls, stored: Mapping[str, Any]) -> Calibration | None:
        """Read the numbers in a model's configuration; None if there are none, or other ones."""
        complete = set(stored) == set(cls.__dataclass_fields__)
        if not complete or not all(isinstance(value, (int, float)) for value in stored.values()):
            return None
        return cls(**stored)

    def describe(self) -> str:
        """Return how often scores are right, as part of a sentence."""
        if self.sure_cells:
            sure = (
                f"of the labels with a score above {SURE_SCORE}, {100 * self.sure_true:.0f} % are "
                f"right ({self.sure_cells:,} cells)"
            )
        else:
            sure = f"no label has a score above {SURE_SCORE}"
        return (
            f"{sure}; the expected calibration error is {self.ece:.3f}, and {self.shown_ece:.3f} "
            f"among scores from {MIN_SHOWN_SCORE} on"
        )


def describe_scores(
    calibration: Calibration | None,
    temperature: float | None,
    *,
    tested_on: str = "the test split",
    folds: int = 0,
    guarantee: Guarantee | None = None,
) -> str:
    """Return the sentences about scores that the report, the card and the demo page show.

    Args:
        calibration: Measured on the test split; None if unknown.
        temperature: The temperature in the head; None if none was fitted.
        tested_on: The rows on which calibration was measured (default: the test split).
        folds: Number of folds that the temperature was fitted on, or 0 for a validation split.
        guarantee: Its offsets are part of the bias, after the temperature; None without one.
    """
    rows = f"out of {folds} folds" if folds else "on validation"
    fitted = (
        "no temperature was fitted"
        if temperature is None
        else f"a temperature of {temperature:.3g}, fitted {rows}, is part of the head"
    )
    measured = (
        "How often scores are right was not measured."
        if calibration is None
        else f"On {tested_on}, {calibration.describe()}."
    )
    moved = "" if guarantee is None else f" {guarantee.describe_offsets()}".rstrip()
    return f"The score is sigmoid(logit); {fitted}.{moved} {measured}"


def bin_scores(scores: Floats, targets: Floats) -> tuple[Floats, Floats, NDArray[np.int_]]:
    """Return the sums of scores and of targets, and the number of cells, of each bin."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    score_sums, target_sums = (
        np.bincount(bins, weights=values, minlength=CALIBRATION_BINS).astype(float)
        for values in (scores, targets)
    )
    return score_sums, target_sums, np.bincount(bins, minlength=CALIBRATION_BINS)


def expected_calibration_error(scores: Floats, targets: Floats) -> float:
    """Return the mean difference of score and target over bins, weighted by cells; 0 if none."""
    score_sums, target_sums, _ = bin_scores(scores, targets)
    return float(np.abs(score_sums - target_sums).sum() / max(1, len(scores)))


def _known_cells(logits: Any, targets: Any) -> tuple[Floats, Floats]:
    """Return the logits and targets of known cells in float64, flat."""
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    if scores.shape != truth.shape:
        raise ValueError(
            f"logits and targets must have the same shape, got {scores.shape} and {truth.shape}"
        )
    known = known_mask(truth)
    refuse_nan(scores)
    return scores[known], truth[known].astype(np.float64)
