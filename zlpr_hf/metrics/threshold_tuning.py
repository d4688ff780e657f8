"""Threshold tuning: offsets that maximise a metric on validation logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Scope
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.thresholds import Thresholds

Floats = NDArray[np.floating[Any]]
CANDIDATES = 200


def fit_thresholds(
    logits: Any,
    targets: Any,
    *,
    metric: str = "f1_macro",
    scope: Scope = "global",
    min_positives: int = 5,
) -> Thresholds:
    """Tune offsets on validation logits. Never use the rows that the result is reported on.

    ``global`` is one offset for all labels, exact for micro-F1, the best of some hundred otherwise.
    ``per_label`` is exact: macro-F1 is the mean of the
    labels' own F1 and is maximised label by label; micro-F1 is a ratio of sums over labels, which
    Dinkelbach's iteration maximises, each step again label by label. Ties go to the offset
    nearest zero.

    Args:
        logits: Raw scores of validation rows.
        targets: Their targets in [0, 1]; NaN or -100 where not known.
        metric: One of ``f1_micro``, ``f1_macro``, and for ``global`` also ``f1_samples``,
            ``jaccard_samples``, ``subset_accuracy``.
        scope: ``global`` or ``per_label``.
        min_positives: For ``per_label``: a label with fewer positives keeps its zero, since
            there are too few to tune on.

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset a label.

    Raises:
        ValueError: If the metric or scope is unknown, or the metric cannot be tuned per label.

    References:
        Dinkelbach: On Nonlinear Fractional Programming, 1967.
        Lipton, Elkan, Naryanaswamy: Optimal Thresholding of Classifiers to Maximize F1, 2014.

    Example:
        >>> validation = [[0.5], [1.5], [2.0]], [[0], [1], [1]]
        >>> fit_thresholds(*validation, scope="per_label", min_positives=1).offsets
        (1.0,)
    """
    if scope not in ("global", "per_label"):
        raise ValueError(f"scope must be global or per_label, got {scope!r}")
    allowed = DECISION_METRICS if scope == "global" else LABEL_METRICS
    if metric not in allowed:
        raise ValueError(
            f"metric for scope {scope} must be one of {', '.join(allowed)}, got {metric!r}"
        )
    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(targets, dtype=np.float32)
    if scope == "global":
        if metric == "f1_micro":  # a label of its own, of all cells: exact
            curve = _Curve.from_scores(scores.ravel(), truth.ravel())
            best = curve.best(curve.f1())
        else:
            best = _best_offset(scores, truth, metric)
        return Thresholds((best,) * scores.shape[1])
    curves = [
        _Curve.from_scores(scores[:, label], truth[:, label]) for label in range(scores.shape[1])
    ]
    tuned = [curve if curve.positives >= min_positives else curve.at_zero() for curve in curves]
    if metric == "f1_macro":
        return Thresholds(tuple(curve.best(curve.f1()) for curve in tuned))
    ratio = 0.0
    while True:
        chosen = [
            curve.best_index(2 * curve.true_positives - ratio * curve.predicted) for curve in tuned
        ]
        true_positives = sum(
            curve.true_positives[index] for curve, index in zip(tuned, chosen, strict=True)
        )
        predicted = sum(curve.predicted[index] for curve, index in zip(tuned, chosen, strict=True))
        better = 2 * true_positives / max(predicted + sum(curve.positives for curve in tuned), 1)
        if better <= ratio + 1e-12:
            return Thresholds(
                tuple(
                    float(curve.offsets[index]) for curve, index in zip(tuned, chosen, strict=True)
                )
            )
        ratio = float(better)


def _best_offset(scores: Floats, truth: Floats, metric: str) -> float:
    finite = scores[np.isfinite(scores)]
    candidates = (
        np.unique(np.quantile(finite, np.linspace(0, 1, CANDIDATES)))
        if finite.size
        else np.zeros(1)
    )
    # Between the quantiles, where decisions are dense, and around zero, where logits are not.
    candidates = np.concatenate(
        [[0.0], (candidates[1:] + candidates[:-1]) / 2, np.linspace(-3, 3, 61)]
    )
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
    values = [compute_decision_metrics(scores > offset, truth)[metric] for offset in candidates]
    return float(candidates[int(np.argmax(values))])


@dataclass(frozen=True)
class _Curve:
    """For one label: candidate offsets, with true positives and predictions at each."""

    offsets: Floats
    true_positives: Floats
    predicted: Floats
    positives: int

    @classmethod
    def from_scores(cls, scores: Floats, truth: Floats) -> _Curve:
        known = known_mask(truth)
        scores, present = scores[known], truth[known] >= 0.5
        values = np.unique(scores)
        edges = (values[1:] + values[:-1]) / 2
        low, high = (values[0] - 1, values[-1] + 1) if len(values) else (0.0, 0.0)
        offsets = np.concatenate([[low], edges, [high, 0.0]])
        offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
        ordered, positive = np.sort(scores), np.sort(scores[present])
        predicted = len(ordered) - np.searchsorted(ordered, offsets, side="right")
        true_positives = len(positive) - np.searchsorted(positive, offsets, side="right")
        return cls(
            offsets, true_positives.astype(float), predicted.astype(float), int(present.sum())
        )

    def at_zero(self) -> _Curve:
        index = int(np.flatnonzero(self.offsets == 0)[0])
        only = slice(index, index + 1)
        return _Curve(
            self.offsets[only], self.true_positives[only], self.predicted[only], self.positives
        )

    def f1(self) -> Floats:
        return 2 * self.true_positives / np.maximum(self.predicted + self.positives, 1)

    def best_index(self, values: Floats) -> int:
        """First best value; offsets are sorted by distance from zero, so ties stay near it."""
        return int(np.argmax(values >= values.max() - 1e-12))

    def best(self, values: Floats) -> float:
        return float(self.offsets[self.best_index(values)])
