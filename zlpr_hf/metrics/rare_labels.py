"""Offsets for rare labels that a model ranks but seldom predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.calibration import Calibration, fit_temperature
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.metrics.names import OBJECTIVE
from zlpr_hf.thresholds import Thresholds, have_content

STRENGTHS = np.arange(13) / 20
"""Shares of the log frequency ratio that are tried, 0 to 0.6; more invents rare labels."""
SELDOM = 0.5
"""A label predicted less often than this share of its expected count gets an offset."""
MAX_ERROR = 0.05
"""Expected calibration error that offsets may lead to."""


def fit_rare_label_offsets(
    logits: Any, targets: Any, train_targets: Any, *, min_labels: int = 0
) -> Thresholds:
    """Lower the thresholds of rare labels that the model predicts far too seldom.

    A label qualifies if the model predicts it in fewer than half as many validation rows as its
    frequency in training lets expect. Its offset is ``-strength * T * log(typical / frequency)``:
    the logarithm of how much rarer it is than a typical label, in units of calibrated logits.
    The typical frequency is that of a label drawn with its number of positive rows. One strength
    for all labels is fitted on validation, so that three positive rows cannot move a threshold by
    themselves: the smallest that maximises the mean of micro-F1, macro-F1 and exact match.
    Strengths that leave the scores uncalibrated are not tried: after a new temperature, their
    expected calibration error must be at most 0.05, or no larger than without offsets.

    Args:
        logits: Raw scores of validation rows. Texts without content, at -10,000, are left out.
        targets: Targets of those rows in [0, 1]; ``-100`` or NaN marks an unknown one.
        train_targets: Targets of the training rows, for the frequencies.
        min_labels: Minimum number of labels per row, part of all decisions (default: 0).

    Shape:
        logits, targets: ``(N, L)``. train_targets: ``(M, L)``.

    Returns:
        Thresholds with one offset per label, 0 or below, and the limit; without offsets if none
        helps.

    References:
        Menon et al.: Long-tail Learning via Logit Adjustment, 2021.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float32)
    has_content = have_content(scores)
    scores, truth = scores[has_content], truth[has_content]
    frequencies = count_frequencies(train_targets)
    limits = Thresholds(min_labels=min_labels)
    share = _predicted_share(limits.apply(scores), truth, frequencies)
    offsets = _rarity(frequencies) * (share < SELDOM)
    if not offsets.any():
        return limits
    offsets *= fit_temperature(scores, truth)
    shifted = [scores + strength * offsets for strength in STRENGTHS]
    errors = [_calibration_error(each, truth) for each in shifted]
    values = [
        _objective(limits.apply(each), truth) if error <= max(MAX_ERROR, errors[0]) else -1.0
        for each, error in zip(shifted, errors, strict=True)
    ]
    strength = STRENGTHS[int(np.argmax(np.round(values, 9)))]
    return replace(limits, offsets=tuple(-strength * offsets)) if strength else limits


def count_frequencies(targets: Any) -> NDArray[np.float64]:
    """Return the fraction of known rows that have each label, at least that of half a row."""
    truth = np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    positives = np.where(known, truth, 0).sum(0, dtype=np.float64)
    frequencies: NDArray[np.float64] = np.maximum(positives, 0.5) / np.maximum(known.sum(0), 1)
    return frequencies


def _rarity(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log ratio of the typical frequency to that of each label, at least 0."""
    typical = (frequencies**2).sum() / frequencies.sum()
    rarity: NDArray[np.float64] = np.maximum(0.0, np.log(typical / frequencies))
    return rarity


def _predicted_share(
    decided: NDArray[np.bool_], targets: Any, frequencies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return predicted rows per expected row of each label; 1 where no row is known."""
    known = known_mask(np.asarray(targets, dtype=np.float32))
    predicted = (decided & known).sum(0)
    expected = frequencies * known.sum(0)
    return np.where(expected > 0, predicted / np.maximum(expected, 1e-12), 1.0)


def _calibration_error(logits: NDArray[np.float64], targets: Any) -> float:
    measured = Calibration.measure(logits / fit_temperature(logits, targets), targets)
    assert measured is not None, "a label with an offset has known rows"
    return measured.ece


def _objective(decided: NDArray[np.bool_], targets: Any) -> float:
    metrics = compute_decision_metrics(decided, targets)
    return float(np.mean([metrics[name] for name in OBJECTIVE]))
