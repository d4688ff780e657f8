"""Metrics of the best labels equal the dense metrics."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from zlpr_hf import compute_label_scores, compute_multi_label_metrics
from zlpr_hf.data.targets import padded_ids
from zlpr_hf.metrics.top_k import (
    TopK,
    compute_top_k_label_scores,
    compute_top_k_metrics,
    fit_top_k_offset,
)

ROWS, LABELS = 60, 40


def example(k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], TopK, NDArray[np.int64]]:
    """Logits and targets, dense and as the best labels; some rows have no label."""
    rng = np.random.default_rng(0)
    targets = rng.random((ROWS, LABELS)) < 0.06
    logits = (rng.normal(size=targets.shape) - 1.5 + 2 * targets).astype(np.float32)
    ids = np.argsort(-logits, axis=1)[:, :k]
    best = TopK(np.take_along_axis(logits, ids, 1), ids, LABELS)
    return logits, targets, best, padded_ids([np.flatnonzero(row) for row in targets])


def test_metrics_are_the_dense_ones() -> None:
    logits, targets, best, positives = example(LABELS)
    dense = compute_multi_label_metrics(logits, targets)
    found = compute_top_k_metrics(best, positives)
    shared = set(found) & set(dense)
    assert len(shared) == 17
    for name in shared:
        assert found[name] == pytest.approx(dense[name], abs=1e-12), name
    labelled = targets.any(1)
    for depth in (1, 3, 5):
        expected = ndcg_score(targets[labelled], logits[labelled], k=depth)
        assert found[f"ndcg_at_{depth}"] == pytest.approx(expected)
    assert found["recall_at_k"] == 1
    assert found["predictions_at_limit"] == 0


def test_label_outside_the_best_ones_is_not_predicted() -> None:
    logits, targets, best, positives = example(3)
    kept = logits >= best.logits[:, -1:]
    dense = compute_multi_label_metrics(logits, targets, predictions=kept & (logits > 0))
    found = compute_top_k_metrics(best, positives)
    for name in ("f1_micro", "f1_macro", "subset_accuracy", "recall_samples", "hamming_loss"):
        assert found[name] == pytest.approx(dense[name], abs=1e-12), name
    assert found["recall_at_k"] == (kept & targets).sum() / targets.sum()
    assert found["predictions_at_limit"] == (best.logits[:, 2] > 0).mean() > 0


def test_labels_one_by_one() -> None:
    logits, targets, best, positives = example(LABELS)
    names = [f"l{label}" for label in range(LABELS)]
    for found, expected in zip(
        compute_top_k_label_scores(best, positives, names),
        compute_label_scores(logits, targets, names),
        strict=True,
    ):
        assert found.average_precision is None
        assert found.f1 == pytest.approx(expected.f1)
        assert (found.label, found.support, found.predicted) == (
            expected.label,
            expected.support,
            expected.predicted,
        )


def test_offset_is_the_best_candidate() -> None:
    logits, targets, best, positives = example(LABELS)
    offset = fit_top_k_offset(best, positives, metric="f1_micro")
    tuned = compute_top_k_metrics(best.shifted(offset), positives)["f1_micro"]
    expected = compute_multi_label_metrics(logits - np.float32(offset), targets)["f1_micro"]
    assert tuned == pytest.approx(expected)
    assert tuned > compute_top_k_metrics(best, positives)["f1_micro"]
    for other in (-1.0, 0.0, 0.3, 1.0):
        assert tuned >= compute_top_k_metrics(best.shifted(other), positives)["f1_micro"] - 0.01


def test_duplicate_id_counts_once() -> None:
    best = TopK(np.array([[1.0, -1.0]], np.float32), np.array([[4, 9]]), 30_000)
    assert compute_top_k_metrics(best, np.array([[4, 4]]))["f1_micro"] == 1
    with pytest.raises(ValueError, match="positives: expected 1 rows as in top_k, got 2"):
        compute_top_k_metrics(best, np.array([[4], [4]]))
