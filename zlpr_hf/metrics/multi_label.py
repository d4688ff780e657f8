"""Multi-label metrics: decisions, rankings and calibration, exact against scikit-learn, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    label_ranking_average_precision_score,
    label_ranking_loss,
    ndcg_score,
)

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.calibration import expected_calibration_error
from zlpr_hf.metrics.counts import Counts, Floats, metrics_from_counts
from zlpr_hf.thresholds import compute_scores, decide, refuse_nan

Bools = NDArray[np.bool_]

LIMITS = (float(np.finfo(np.float32).min) / 2, float(np.finfo(np.float32).max) / 2)
"""Range of logits for rankings: scikit-learn refuses infinity and takes differences."""


def compute_multi_label_metrics(
    logits: Any, targets: Any, *, predictions: Any | None = None, k: int = 5
) -> dict[str, float]:
    """Compute all metrics of a set of predictions.

    Args:
        logits: Raw scores. Rankings use their order, ``brier`` and ``ece`` use ``sigmoid(s)``.
        targets: Values in [0, 1]; a label is present from 0.5 on. ``-100`` or NaN marks an unknown
            target: it is ignored, and rankings leave out its row. Rows and labels without a known
            target count in no mean.
        predictions: Decisions (default: ``logits > 0``).
        k: Depth of ``precision_at_k`` and ``ndcg_at_k``, up to ``L`` (default: 5).

    Shape:
        logits, targets, predictions: ``(N, L)``.

    Returns:
        Decisions: ``f1_micro``, ``f1_macro``, ``f1_samples``, the same for precision and recall,
        ``jaccard_samples``, ``subset_accuracy``, ``hamming_loss``. Rankings: ``lrap``,
        ``ranking_loss``, ``coverage_error``, ``one_error``, ``average_precision_micro`` and
        ``_macro``, ``precision_at_K`` and ``ndcg_at_K`` with ``K = min(k, L)``. Sanity:
        ``predicted_cardinality``, ``empty_predictions``. Calibration: ``brier``, ``ece``. The ratio
        0 / 0 is 0; rankings are left out if no row can be ranked. If no target is known, all that
        is left is 0.

    Raises:
        ValueError: If the shapes differ or a logit is NaN.

    References:
        Zhang, Zhou: A Review on Multi-Label Learning Algorithms, 2014.

    Example:
        >>> compute_multi_label_metrics([[1.0, -1.0]], [[1, 0]])["subset_accuracy"]
        1.0
    """
    scores, truth, known = _arrays(logits, targets)
    decided = decide(scores) if predictions is None else predictions
    return (
        compute_decision_metrics(decided, truth)
        | _ranking_metrics(scores, known & (truth >= 0.5), known, k)
        | _calibration_metrics(scores, truth, known)
    )


def compute_decision_metrics(predictions: Any, targets: Any) -> dict[str, float]:
    """Compute the metrics that need only decisions, for predictors without scores.

    Args:
        predictions: Decisions.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target, which is ignored.

    Shape:
        predictions, targets: ``(N, L)``.

    Returns:
        The decision and sanity metrics of :func:`compute_multi_label_metrics`.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> compute_decision_metrics([[True, False]], [[1, 1]])["recall_micro"]
        0.5
    """
    decisions, truth, known = _arrays(np.asarray(predictions, dtype=bool), targets)
    present = known & (truth >= 0.5)
    per_label, per_row = (
        Counts.from_decisions(decisions.astype(bool) & known, present, axis) for axis in (0, 1)
    )
    if not known.any():
        return dict.fromkeys(metrics_from_counts(per_row, per_label, 0), 0.0)
    judged_rows, judged_labels = known.any(1), known.any(0)
    return metrics_from_counts(
        per_row.where(judged_rows), per_label.where(judged_labels), known.sum()
    )


def _arrays(logits: Any, targets: Any) -> tuple[Floats, Floats, Bools]:
    scores, truth = np.asarray(logits), np.asarray(targets, dtype=np.float32)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(
            "predictions and targets must both be (N, num_labels), "
            f"got {scores.shape} and {truth.shape}"
        )
    refuse_nan(scores)
    if scores.dtype == np.float16:  # its largest number is below LIMITS
        scores = scores.astype(np.float32)
    return scores, truth, known_mask(truth)


def _ranking_metrics(scores: Floats, present: Bools, known: Bools, k: int) -> dict[str, float]:
    scores = np.clip(scores, *LIMITS)
    ranked = known.all(1) & present.any(1)
    metrics: dict[str, float] = {}
    if ranked.any():
        s, t = scores[ranked], present[ranked]
        k = min(k, s.shape[1])
        best = np.argsort(-s, axis=1, kind="stable")[:, :k]
        metrics["one_error"] = float(1 - np.take_along_axis(t, best[:, :1], 1).mean())
        metrics[f"precision_at_{k}"] = float(np.take_along_axis(t, best, 1).mean())
        metrics[f"ndcg_at_{k}"] = float(ndcg_score(t, s, k=k))
        metrics["lrap"] = float(label_ranking_average_precision_score(t, s))
        metrics["ranking_loss"] = float(label_ranking_loss(t, s))
        metrics["coverage_error"] = float(coverage_error(t, s))
    per_label = [
        average_precision_score(present[rows, label], scores[rows, label])
        for label in np.flatnonzero(present.any(0))
        for rows in [known[:, label]]
    ]
    if per_label:
        micro = average_precision_score(present[known], scores[known])
        metrics["average_precision_micro"] = float(micro)
        metrics["average_precision_macro"] = float(np.mean(per_label))
    return metrics


def _calibration_metrics(scores: Floats, truth: Floats, known: Bools) -> dict[str, float]:
    probability = compute_scores(scores[known])
    target = truth[known].astype(np.float64)
    if not len(target):
        return {}
    return {
        "brier": float(np.mean((probability - target) ** 2)),
        "ece": expected_calibration_error(probability, target),
    }


@dataclass(frozen=True)
class LabelScore:
    """Test metrics of one label; ``average_precision`` is None if the label is never present."""

    label: str
    precision: float
    recall: float
    f1: float
    average_precision: float | None
    support: int
    predicted: int

    @classmethod
    def from_counts(
        cls, names: Sequence[str], counts: Counts, average_precisions: Sequence[float | None]
    ) -> list[LabelScore]:
        """Return one entry per label, from counts per label."""
        columns = (counts.precision, counts.recall, counts.f1, counts.support, counts.predicted)
        return [
            cls(name, float(p), float(r), float(f1), ap, int(support), int(predicted))
            for name, ap, p, r, f1, support, predicted in zip(
                names, average_precisions, *columns, strict=True
            )
        ]


def compute_label_scores(
    logits: Any, targets: Any, names: Sequence[str], *, predictions: Any | None = None
) -> list[LabelScore]:
    """Compute precision, recall, F1, average precision and support per label.

    Args:
        logits: Raw scores.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target, which is ignored.
        names: Label names in the order of the columns.
        predictions: Decisions (default: ``logits > 0``).

    Shape:
        logits, targets, predictions: ``(N, L)``.

    Returns:
        One entry per label; ``average_precision`` is None for a label that is never present.

    Raises:
        ValueError: If the shapes differ or a logit is NaN.

    Example:
        >>> compute_label_scores([[1.0, -1.0]], [[1, 0]], ["a", "b"])[0].f1
        1.0
    """
    scores, truth, known = _arrays(logits, targets)
    decided = decide(scores) if predictions is None else np.asarray(predictions, dtype=bool)
    present = known & (truth >= 0.5)
    scores = np.clip(scores, *LIMITS)
    average_precisions = [
        float(average_precision_score(present[rows, label], scores[rows, label]))
        if present[:, label].any()
        else None
        for label, rows in enumerate(known.T)
    ]
    counts = Counts.from_decisions(decided & known, present, axis=0)
    return LabelScore.from_counts(names, counts, average_precisions)


class MultiLabelMetrics(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """All metrics as an ``evaluate.Metric`` that needs no network.

    ``evaluate.load`` downloads a script from the Hub; this class is the metric itself. Its
    ``predictions`` are logits, and a label is predicted where they are above zero.

    Example:
        >>> metric = MultiLabelMetrics()
        >>> metric.add_batch(predictions=[[1.0, -1.0]], references=[[1, 0]])
        >>> metric.compute()["f1_micro"]
        1.0
    """

    def _info(self) -> evaluate.MetricInfo:
        rows = datasets.List(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description="Decision, ranking and calibration metrics of multi-label predictions.",
            citation="Zhang, Zhou: A Review on Multi-Label Learning Algorithms, 2014.",
            inputs_description="predictions: logits (N, L); references: targets (N, L) in [0, 1].",
            features=datasets.Features({"predictions": rows, "references": rows}),
        )

    def _compute(self, predictions: Any, references: Any, k: int = 5) -> dict[str, float]:
        return compute_multi_label_metrics(predictions, references, k=k)
