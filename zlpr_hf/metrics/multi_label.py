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
from zlpr_hf.thresholds import decide

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

CALIBRATION_BINS = 15
LESS_IS_BETTER = (
    "loss", "hamming_loss", "one_error", "ranking_loss", "coverage_error", "brier", "ece",
)  # fmt: skip
NEITHER_IS_BETTER = ("predicted_cardinality", "empty_predictions", "predictions_at_limit")
RANKING = (
    "lrap", "one_error", "ranking_loss", "coverage_error", "precision_at", "ndcg_at",
    "average_precision",
)  # fmt: skip
"""How the names of metrics begin that depend on the order of logits and not on where zero is."""
LIMITS = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def compute_multi_label_metrics(
    logits: Any, targets: Any, *, predictions: Any | None = None, k: int = 5
) -> dict[str, float]:
    """All metrics of a set of predictions.

    Args:
        logits: Raw scores; rankings use their order, ``brier`` and ``ece`` use ``sigmoid(2 s)``.
        targets: Values in [0, 1]; a label is present from 0.5 on. ``-100`` or NaN is not known:
            such cells do not count, and rankings leave out their rows.
        predictions: Decisions; without them ``logits > 0``.
        k: Depth of ``precision_at_k`` and ``ndcg_at_k``; at most ``L``.

    Shape:
        logits, targets, predictions: ``(N, L)``.

    Returns:
        ``f1_micro``, ``f1_macro``, ``f1_samples`` and the same for precision and recall,
        ``jaccard_samples``, ``subset_accuracy``, ``hamming_loss`` (decisions); ``lrap``,
        ``ranking_loss``, ``coverage_error``, ``one_error``, ``average_precision_micro`` and
        ``_macro``, ``precision_at_K``, ``ndcg_at_K`` with ``K = min(k, L)`` (rankings);
        ``predicted_cardinality``,
        ``empty_predictions`` (sanity); ``brier``, ``ece`` (calibration). A ratio of 0 to 0 is 0;
        rankings without a single row to rank are left out.

    Raises:
        ValueError: If the shapes differ.

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
    """The metrics that need label sets only, for predictors without scores.

    Args:
        predictions: Decisions.
        targets: As in :func:`compute_multi_label_metrics`.

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
    decided, truth, known = _arrays(np.asarray(predictions, dtype=bool), targets)
    present = known & (truth >= 0.5)
    return _decision_metrics(decided.astype(bool) & known, present, known)


def _arrays(logits: Any, targets: Any) -> tuple[Floats, Floats, Bools]:
    scores, truth = np.asarray(logits), np.asarray(targets, dtype=np.float32)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(
            "predictions and targets must both be (N, num_labels), "
            f"got {scores.shape} and {truth.shape}"
        )
    known = known_mask(truth)
    return scores, truth, known


def ratio(numerator: Any, denominator: Any) -> Any:
    """Quotient with 0 where there is nothing to divide by, as scikit-learn's ``zero_division=0``.

    Args:
        numerator: Numbers of any shape.
        denominator: As many.

    Returns:
        Quotients in float64.

    Example:
        >>> ratio([1, 0], [2, 0]).tolist()
        [0.5, 0.0]
    """
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _decision_metrics(decided: Bools, present: Bools, known: Bools) -> dict[str, float]:
    hits = decided & present
    metrics: dict[str, float] = {}
    for average, axis in (("micro", None), ("macro", 0), ("samples", 1)):
        true_positives, predicted, true = hits.sum(axis), decided.sum(axis), present.sum(axis)
        metrics[f"f1_{average}"] = float(np.mean(ratio(2 * true_positives, predicted + true)))
        metrics[f"precision_{average}"] = float(np.mean(ratio(true_positives, predicted)))
        metrics[f"recall_{average}"] = float(np.mean(ratio(true_positives, true)))
    union = (decided | present).sum(1)
    # Nothing said where nothing is true is right, as for scikit-learn's subset accuracy; the
    # Jaccard index of two empty sets is 0 by its convention.
    metrics["jaccard_samples"] = float(np.mean(ratio(hits.sum(1), union)))
    metrics["subset_accuracy"] = float((decided == present).all(1).mean())
    metrics["hamming_loss"] = float(ratio((decided != present).sum(), known.sum()))
    metrics["predicted_cardinality"] = float(decided.sum(1).mean())
    metrics["empty_predictions"] = float((~decided.any(1)).mean())
    return metrics


def _ranking_metrics(scores: Floats, present: Bools, known: Bools, k: int) -> dict[str, float]:
    # A masked logit ranks last; scikit-learn refuses infinities.
    scores = np.clip(scores, *LIMITS)
    complete = known.all(1)
    ranked = complete & present.any(1)
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
    rankable = [label for label in range(scores.shape[1]) if (present[:, label]).any()]
    if rankable:
        metrics["average_precision_micro"] = float(
            average_precision_score(present[known], scores[known])
        )
        metrics["average_precision_macro"] = float(
            np.mean(
                [
                    average_precision_score(present[rows, label], scores[rows, label])
                    for label in rankable
                    for rows in [known[:, label]]
                ]
            )
        )
    return metrics


def _calibration_metrics(scores: Floats, truth: Floats, known: Bools) -> dict[str, float]:
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-2 * scores[known].astype(np.float64)))
    target = truth[known].astype(np.float64)
    if not len(target):
        return {}
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        np.bincount(bins, weights=values, minlength=CALIBRATION_BINS)
        for values in (probability, target)
    ]
    return {
        "brier": float(np.mean((probability - target) ** 2)),
        "ece": float(np.abs(gaps[0] - gaps[1]).sum() / len(target)),
    }


@dataclass(frozen=True)
class LabelScore:
    """How one label fares: decisions at the rule in use, ranking by its logits."""

    label: str
    precision: float
    recall: float
    f1: float
    average_precision: float | None
    support: int
    predicted: int


def compute_label_scores(
    logits: Any, targets: Any, names: Sequence[str], *, predictions: Any | None = None
) -> list[LabelScore]:
    """Precision, recall, F1, average precision and support of every label.

    Args:
        logits: Raw scores.
        targets: As in :func:`compute_multi_label_metrics`.
        names: Label names in the order of the columns.
        predictions: Decisions; without them ``logits > 0``.

    Shape:
        logits, targets, predictions: ``(N, L)``.

    Returns:
        One entry a label; ``average_precision`` is None for a label that is never present.

    Example:
        >>> compute_label_scores([[1.0, -1.0]], [[1, 0]], ["a", "b"])[0].f1
        1.0
    """
    scores, truth, known = _arrays(logits, targets)
    decided = decide(scores) if predictions is None else np.asarray(predictions, dtype=bool)
    decided = decided & known
    present = known & (truth >= 0.5)
    true_positives, predicted, true = ((decided & present).sum(0), decided.sum(0), present.sum(0))
    table = []
    for label, name in enumerate(names):
        rows = known[:, label]
        ap = (
            average_precision_score(present[rows, label], np.clip(scores[rows, label], *LIMITS))
            if true[label]
            else None
        )
        table.append(
            LabelScore(
                name,
                float(ratio(true_positives[label], predicted[label])),
                float(ratio(true_positives[label], true[label])),
                float(ratio(2 * true_positives[label], predicted[label] + true[label])),
                None if ap is None else float(ap),
                int(true[label]),
                int(predicted[label]),
            )
        )
    return table


class MultiLabelMetrics(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """The metrics as an ``evaluate.Metric`` that needs no network.

    ``evaluate.load`` fetches a script from the Hub; this class is the metric itself. Its
    ``predictions`` are logits, cut at zero for decisions.

    Example:
        >>> metric = MultiLabelMetrics()
        >>> metric.add_batch(predictions=[[1.0, -1.0]], references=[[1, 0]])
        >>> metric.compute()["f1_micro"]
        1.0
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Decision, ranking and calibration metrics of multi-label predictions.",
            citation="Zhang, Zhou: A Review on Multi-Label Learning Algorithms, 2014.",
            inputs_description="predictions: logits (N, L); references: targets (N, L) in [0, 1].",
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float32")),
                    "references": datasets.List(datasets.Value("float32")),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, k: int = 5) -> dict[str, float]:
        return compute_multi_label_metrics(predictions, references, k=k)
