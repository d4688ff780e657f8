"""TopK: the best labels of each row, for label spaces too large to keep all logits, and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.metrics.multi_label import LabelScore, ratio
from zlpr_hf.thresholds import decide

LARGE = 4096
"""Above so many labels a label space is large."""
DEPTHS = (1, 3, 5)
OFFSETS = 160
"""How many offsets are tried when one is tuned."""

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TopK:
    """The ``k`` best labels of each row; those with a logit above zero are predicted.

    Args:
        logits: Largest first.
        ids: The labels that they belong to.
        num_labels: ``L``.

    Shape:
        logits, ids: ``(N, k)``.
    """

    logits: NDArray[np.float32]
    ids: Ids
    num_labels: int

    def shifted(self, offset: float) -> TopK:
        """The same after an offset has been subtracted from every logit."""
        return TopK(self.logits - np.float32(offset), self.ids, self.num_labels)


def compute_top_k_metrics(top_k: TopK, positives: Ids) -> dict[str, float]:
    """Metrics that need the best labels only, by the names and with the values of the dense ones.

    Args:
        top_k: The best labels. A label outside them counts as not predicted.
        positives: Ids of the true labels, filled up with ``-100``.

    Shape:
        positives: ``(N, K)``.

    Returns:
        The decision and sanity metrics of
        :func:`zlpr_hf.compute_multi_label_metrics`; ``one_error``, ``precision_at_D`` and
        ``ndcg_at_D`` for ``D`` of 1, 3 and 5 over rows with a label; ``recall_at_k``, the share of
        true labels among the ``k`` best; ``predictions_at_limit``, the share of rows with ``k``
        labels above zero, of which there may be more.

    Raises:
        ValueError: If the numbers of rows differ.

    References:
        Bhatia et al.: The extreme classification repository: Multi-label datasets and code, 2016.

    Example:
        >>> best = TopK(np.array([[2.0, -1.0]], np.float32), np.array([[7, 3]]), 30_000)
        >>> compute_top_k_metrics(best, np.array([[7, -100]]))["subset_accuracy"]
        1.0
    """
    found = _Found.from_top_k(top_k, positives)
    metrics = found.decisions(decide(top_k.logits))
    metrics["predictions_at_limit"] = float(decide(top_k.logits).all(1).mean())
    ranked = found.true_of_row > 0
    if ranked.any():
        hits, true = found.hits[ranked], found.true_of_row[ranked]
        gains = 1 / np.log2(np.arange(hits.shape[1]) + 2)
        metrics["one_error"] = float(1 - hits[:, 0].mean())
        for depth in [depth for depth in DEPTHS if depth <= hits.shape[1]]:
            best = np.cumsum(gains[:depth])[np.minimum(true, depth) - 1]
            metrics[f"precision_at_{depth}"] = float(hits[:, :depth].mean())
            metrics[f"ndcg_at_{depth}"] = float((hits[:, :depth] @ gains[:depth] / best).mean())
        metrics["recall_at_k"] = float(hits.sum() / true.sum())
    return metrics


def compute_top_k_label_scores(
    top_k: TopK, positives: Ids, names: Sequence[str]
) -> list[LabelScore]:
    """Precision, recall, F1 and support of every label, as
    :func:`zlpr_hf.compute_label_scores` without average precision.

    Args:
        top_k: The best labels.
        positives: As for :func:`compute_top_k_metrics`.
        names: Label names in the order of their ids.

    Returns:
        One entry a label.
    """
    found = _Found.from_top_k(top_k, positives)
    true_positives, predicted = found.of_labels(decide(top_k.logits))
    true = found.true_of_label
    columns = (
        ratio(true_positives, predicted),
        ratio(true_positives, true),
        ratio(2 * true_positives, predicted + true),
        true,
        predicted,
    )
    return [
        LabelScore(name, float(p), float(r), float(f1), None, int(support), int(predicted))
        for name, p, r, f1, support, predicted in zip(names, *columns, strict=True)
    ]


def fit_top_k_offset(top_k: TopK, positives: Ids, *, metric: str) -> float:
    """One offset for all labels that does best on validation rows.

    Args:
        top_k: The best labels of validation rows.
        positives: As for :func:`compute_top_k_metrics`.
        metric: One of the decision metrics, such as ``f1_micro``.

    Returns:
        The best of the offsets that :data:`OFFSETS` quantiles of the logits give, and of zero;
        the one nearest zero where several are best.
    """
    found = _Found.from_top_k(top_k, positives)
    values = np.unique(np.quantile(top_k.logits, np.linspace(0, 1, OFFSETS)))
    candidates = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
    results = [found.decisions(top_k.logits > offset)[metric] for offset in candidates]
    return float(candidates[int(np.argmax(results))])


@dataclass(frozen=True)
class _Found:
    """Which of the best labels are true, and how many true labels rows and labels have."""

    ids: Ids
    hits: Bools
    true_of_row: Ids
    true_of_label: Ids

    @classmethod
    def from_top_k(cls, top_k: TopK, positives: Ids) -> _Found:
        rows, labels = len(top_k.ids), top_k.num_labels
        if len(positives) != rows:
            raise ValueError(f"positives: expected {rows} rows as in top_k, got {len(positives)}")
        base = np.arange(rows)[:, None] * labels
        true = np.unique((base + positives)[positives >= 0])
        return cls(
            top_k.ids,
            np.isin(base + top_k.ids, true),
            np.bincount(true // labels, minlength=rows),
            np.bincount(true % labels, minlength=labels),
        )

    def of_labels(self, decided: Bools) -> tuple[Ids, Ids]:
        """Hits and predictions of each label."""
        labels = len(self.true_of_label)
        return (
            np.bincount(self.ids[decided & self.hits], minlength=labels),
            np.bincount(self.ids[decided], minlength=labels),
        )

    def decisions(self, decided: Bools) -> dict[str, float]:
        """Decision metrics where ``decided`` marks the predicted ones among the best labels."""
        of_rows = (decided & self.hits).sum(1), decided.sum(1), self.true_of_row
        of_labels = (*self.of_labels(decided), self.true_of_label)
        sums = tuple(np.asarray(counts.sum()) for counts in of_rows)
        metrics: dict[str, float] = {}
        for average, (true_positives, predicted, true) in (
            ("micro", sums),
            ("macro", of_labels),
            ("samples", of_rows),
        ):
            metrics[f"f1_{average}"] = float(ratio(2 * true_positives, predicted + true).mean())
            metrics[f"precision_{average}"] = float(ratio(true_positives, predicted).mean())
            metrics[f"recall_{average}"] = float(ratio(true_positives, true).mean())
        true_positives, predicted, true = of_rows
        wrong = predicted + true - 2 * true_positives
        metrics["jaccard_samples"] = float(
            ratio(true_positives, predicted + true - true_positives).mean()
        )
        metrics["subset_accuracy"] = float((wrong == 0).mean())
        metrics["hamming_loss"] = float(
            wrong.sum() / (len(true_positives) * len(self.true_of_label))
        )
        metrics["predicted_cardinality"] = float(predicted.mean())
        metrics["empty_predictions"] = float((predicted == 0).mean())
        return metrics
