"""Declared names of metrics against the metrics that are computed."""

import numpy as np
import pytest

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.names import (
    LESS_IS_BETTER,
    NEITHER_IS_BETTER,
    RANKING_PREFIXES,
    metric_names,
    top_k_metric_names,
)
from zlpr_hf.metrics.top_k import TopK, compute_top_k_metrics


@pytest.mark.parametrize("num_labels", [2, 3, 5, 9])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_all_metrics_are_declared(num_labels: int, k: int) -> None:
    targets = np.eye(num_labels)
    found = compute_multi_label_metrics(targets, targets, k=k)
    assert set(metric_names(num_labels, k=k)) == set(found)


@pytest.mark.parametrize("k", [1, 3, 4, 5, 9])
def test_all_top_k_metrics_are_declared(k: int) -> None:
    ids = np.tile(np.arange(k), (2, 1))
    found = compute_top_k_metrics(TopK(np.ones((2, k), np.float32), ids, 9), np.zeros((2, 1), int))
    assert set(top_k_metric_names(k)) == set(found)


def test_directions_and_prefixes_are_of_declared_metrics() -> None:
    names = {*metric_names(9), *top_k_metric_names()}
    assert {*LESS_IS_BETTER, *NEITHER_IS_BETTER} - {"loss"} <= names
    for prefix in RANKING_PREFIXES:
        assert any(name.startswith(prefix) for name in names)
