"""Threshold tuning: offsets that maximise a metric on validation data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Scope
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.counts import Counts, Floats
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.thresholds import Thresholds, have_content, rank_labels, refuse_nan

QUANTILES = 200
TOLERANCE = 1e-12
"""Two values of a metric that are closer than this count as equal."""


def fit_thresholds(
    logits: Any,
    targets: Any,
    *,
    metric: str = "f1_macro",
    scope: Scope = "global",
    min_positives: int = 5,
    min_labels: int = 0,
    max_labels: int | None = None,
) -> Thresholds:
    """Tune offsets on validation data. Never use the rows that you report metrics on.

    ``global`` finds one offset for all labels: the exact optimum for micro-F1, the best of some
    hundred candidates for other metrics. ``per_label`` is exact: macro-F1 is the mean of the F1 of
    each label and is maximised label by label; micro-F1 is a ratio of sums over labels, which
    Dinkelbach's iteration maximises, each step again label by label. Of equally good offsets the
    nearest to zero wins.

    Limits on the number of labels are part of the decisions that ``global`` rates. ``per_label``
    fits without them: which labels a limit adds or removes depends on the offsets of all labels.

    Args:
        logits: Raw scores of validation rows. Texts without content, at -10,000, are left out.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target, which is ignored.
        metric: ``f1_micro`` or ``f1_macro`` (default); for ``global`` also ``f1_samples``,
            ``jaccard_samples`` and ``subset_accuracy``.
        scope: ``global`` (default) or ``per_label``.
        min_positives: For ``per_label``: a label with fewer positive rows keeps its zero
            (default: 5).
        min_labels: Minimum number of labels per row (default: 0).
        max_labels: Maximum number of labels per row (default: no limit).

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset per label, and the limits.

    Raises:
        ValueError: If the metric or scope is unknown, the metric cannot be tuned per label, the
            limits contradict each other, or a logit is NaN.

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
    refuse_nan(scores)
    truth = np.asarray(targets, dtype=np.float32)
    has_content = have_content(scores)
    scores, truth = scores[has_content], truth[has_content]
    limits = Thresholds(min_labels=min_labels, max_labels=max_labels)
    if not len(scores):
        return replace(limits, offsets=(0.0,) * scores.shape[1])
    if scope == "global":
        limited = _with_limits(scores, limits)
        if metric == "f1_micro":  # all cells as one label: exact
            best = _Curve.from_scores(limited.ravel(), truth.ravel()).best_f1_offset()
        else:
            best = _best_offset(limited, truth, metric)
        return replace(limits, offsets=(best,) * scores.shape[1])
    curves = [_Curve.from_scores(*columns) for columns in zip(scores.T, truth.T, strict=True)]
    tuned = [
        curve if curve.counts.support >= min_positives else curve.at_zero() for curve in curves
    ]
    if metric == "f1_macro":
        return replace(limits, offsets=tuple(curve.best_f1_offset() for curve in tuned))
    return replace(limits, offsets=_find_micro_f1_offsets(tuned))


def _with_limits(scores: Floats, limits: Thresholds) -> Floats:
    """Return scores with infinity for labels that a limit adds, minus infinity if it drops them.

    These labels are the same for every offset that all labels share.
    """
    ranks = rank_labels(scores)
    limited = np.where(ranks < limits.min_labels, np.inf, scores)
    if limits.max_labels is not None:
        limited = np.where(ranks >= limits.max_labels, -np.inf, limited)
    return limited


def _best_offset(scores: Floats, truth: Floats, metric: str) -> float:
    finite = scores[np.isfinite(scores)]
    quantiles = (
        np.unique(np.quantile(finite, np.linspace(0, 1, QUANTILES))) if finite.size else np.zeros(1)
    )
    # Between quantiles where logits are dense, and around zero where they are not.
    candidates = np.concatenate(
        [[0.0], (quantiles[1:] + quantiles[:-1]) / 2, np.linspace(-3, 3, 61)]
    )
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
    values = [compute_decision_metrics(scores > offset, truth)[metric] for offset in candidates]
    return float(candidates[int(np.argmax(values))])


@dataclass(frozen=True)
class _Curve:
    """Candidate offsets of one label, sorted by distance from zero, with the counts at each."""

    offsets: Floats
    counts: Counts

    @classmethod
    def from_scores(cls, scores: Floats, truth: Floats) -> _Curve:
        known = known_mask(truth)
        scores, present = scores[known], truth[known] >= 0.5
        values = np.unique(scores[np.isfinite(scores)])
        edges = (values[1:] + values[:-1]) / 2
        low, high = (values[0] - 1, values[-1] + 1) if len(values) else (0.0, 0.0)
        offsets = np.concatenate([[low], edges, [high, 0.0]])
        offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
        predicted, true_positives = (
            len(each) - np.searchsorted(each, offsets, side="right")
            for each in (np.sort(scores), np.sort(scores[present]))
        )
        return cls(offsets, Counts(true_positives, predicted, int(present.sum())))

    def at(self, index: int) -> _Curve:
        """Return the curve with one of its candidates only."""
        only = slice(index, index + 1)
        counts = self.counts
        return _Curve(
            self.offsets[only],
            Counts(counts.true_positives[only], counts.predicted[only], counts.support),
        )

    def at_zero(self) -> _Curve:
        return self.at(int(np.flatnonzero(self.offsets == 0)[0]))

    def best(self, values: Floats) -> _Curve:
        """Return the curve at the first best value, so that ties stay near zero."""
        return self.at(int(np.argmax(values >= values.max() - TOLERANCE)))

    def best_f1_offset(self) -> float:
        return float(self.best(self.counts.f1).offsets[0])


def _find_micro_f1_offsets(curves: list[_Curve]) -> tuple[float, ...]:
    """Dinkelbach: maximise numerator minus ratio times denominator until the ratio stays."""
    ratio = 0.0
    while True:
        chosen = [
            curve.best(2 * curve.counts.true_positives - ratio * curve.counts.predicted)
            for curve in curves
        ]
        true_positives, predicted = (
            sum(int(getattr(curve.counts, name)[0]) for curve in chosen)
            for name in ("true_positives", "predicted")
        )
        support = sum(curve.counts.support for curve in curves)
        better = float(Counts(true_positives, predicted, support).f1)
        if better <= ratio + TOLERANCE:
            return tuple(float(curve.offsets[0]) for curve in chosen)
        ratio = better
