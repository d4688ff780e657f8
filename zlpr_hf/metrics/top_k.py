"""TopK: the best labels of each row and their metrics, for label spaces with too many logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.metrics.counts import Counts, metrics_from_counts
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.metrics.names import TOP_K_DEPTHS
from zlpr_hf.thresholds import decide, refuse_nan

MAX_DENSE_LABELS = 4096
"""Largest label space in which all logits are kept; above, only the best ones of each row are."""
TRIED_OFFSETS = 160

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TopK:
    """The ``k`` best labels of each row; those with a logit above zero are predicted.

    Args:
        logits: Logits ``(N, k)``, largest first.
        ids: Label ids ``(N, k)``.
        num_labels: Number of labels, ``L``.
    """

    logits: NDArray[np.float32]
    ids: Ids
    num_labels: int

    def shifted(self, offset: float) -> TopK:
        """Return the same labels with an offset subtracted from every logit."""
        return TopK(self.logits - np.float32(offset), self.ids, self.num_labels)

    def scaled(self, factor: float) -> TopK:
        """Return the same labels with every logit multiplied by a positive factor."""
        return TopK(self.logits * np.float32(factor), self.ids, self.num_labels)


def compute_top_k_metrics(top_k: TopK, positives: Ids) -> dict[str, float]:
    """Compute the metrics that need only the best labels.

    Decision and sanity metrics have the names and values of
    :func:`zlpr_hf.compute_multi_label_metrics`; a label outside the best ones counts as not
    predicted. ``one_error``, ``precision_at_D`` and ``ndcg_at_D`` are over rows with a label.
    ``recall_at_k`` is the fraction of true labels among the ``k`` best; ``predictions_at_limit``
    the fraction of rows with ``k`` logits above zero, which may have more.

    Args:
        top_k: The best labels.
        positives: Ids of the true labels ``(N, K)``, padded with ``-100``.

    Raises:
        ValueError: If the numbers of rows differ.

    References:
        Bhatia et al.: The extreme classification repository: Multi-label datasets and code, 2016.

    Example:
        >>> best = TopK(np.array([[2.0, -1.0]], np.float32), np.array([[7, 3]]), 30_000)
        >>> compute_top_k_metrics(best, np.array([[7, -100]]))["subset_accuracy"]
        1.0
    """
    matches = _Matches.from_top_k(top_k, positives)
    metrics = matches.decision_metrics(decide(top_k.logits))
    metrics["predictions_at_limit"] = float(decide(top_k.logits).all(1).mean())
    ranked = matches.row_support > 0
    if ranked.any():
        correct, support = matches.correct[ranked], matches.row_support[ranked]
        gains = 1 / np.log2(np.arange(correct.shape[1]) + 2)
        metrics["one_error"] = float(1 - correct[:, 0].mean())
        for depth in [depth for depth in TOP_K_DEPTHS if depth <= correct.shape[1]]:
            ideal = np.cumsum(gains[:depth])[np.minimum(support, depth) - 1]
            metrics[f"precision_at_{depth}"] = float(correct[:, :depth].mean())
            metrics[f"ndcg_at_{depth}"] = float((correct[:, :depth] @ gains[:depth] / ideal).mean())
        metrics["recall_at_k"] = float(correct.sum() / support.sum())
    return metrics


def compute_top_k_label_scores(
    top_k: TopK, positives: Ids, names: Sequence[str]
) -> list[LabelScore]:
    """Compute precision, recall, F1 and support per label, without average precision."""
    matches = _Matches.from_top_k(top_k, positives)
    counts = matches.count_per_label(decide(top_k.logits))
    return LabelScore.from_counts(names, counts, [None] * len(names))


def match_top_k(top_k: TopK, positives: Ids) -> Bools:
    """Return which of the best labels are true, ``(N, k)``."""
    return _Matches.from_top_k(top_k, positives).correct


def fit_top_k_offset(top_k: TopK, positives: Ids, *, metric: str) -> float:
    """Return the best single offset for all labels on validation rows.

    Candidates are zero and the middles between quantiles of the logits; of equally good ones the
    nearest to zero wins.
    """
    refuse_nan(top_k.logits)
    matches = _Matches.from_top_k(top_k, positives)
    values = np.unique(np.quantile(top_k.logits, np.linspace(0, 1, TRIED_OFFSETS)))
    candidates = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
    results = [matches.decision_metrics(top_k.logits > offset)[metric] for offset in candidates]
    return float(candidates[int(np.argmax(results))])


@dataclass(frozen=True)
class _Matches:
    """Which of the best labels are true, and the number of true labels per row and per label."""

    ids: Ids
    correct: Bools
    row_support: Ids
    label_support: Ids

    @classmethod
    def from_top_k(cls, top_k: TopK, positives: Ids) -> _Matches:
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

    def count_per_label(self, decided: Bools) -> Counts:
        labels = len(self.label_support)
        return Counts(
            np.bincount(self.ids[decided & self.correct], minlength=labels),
            np.bincount(self.ids[decided], minlength=labels),
            self.label_support,
        )

    def decision_metrics(self, decided: Bools) -> dict[str, float]:
        """Decision metrics where ``decided`` marks the predicted ones among the best labels."""
        per_row = Counts((decided & self.correct).sum(1), decided.sum(1), self.row_support)
        cells = len(self.row_support) * len(self.label_support)
        return metrics_from_counts(per_row, self.count_per_label(decided), cells)
