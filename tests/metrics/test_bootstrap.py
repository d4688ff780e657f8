"""Intervals against metrics of rows that are written out again and again."""

from typing import Any

import numpy as np
import pytest

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.bootstrap import DecisionCounts, RowMeans, compute_intervals, draw_weights

LEFT_OUT = {"average_precision_micro", "average_precision_macro", "ece"}


def made(kind: str, rows: int = 60, labels: int = 7) -> tuple[Any, Any, Any]:
    """Logits, targets and decisions."""
    generator = np.random.default_rng(0)
    targets = (generator.random((rows, labels)) < 0.3).astype(np.float32)
    logits = (3 * targets - 2 + generator.normal(size=targets.shape)).astype(np.float32)
    if kind == "equal scores":
        logits = np.round(logits)
    if kind == "masked":
        logits[generator.random(logits.shape) < 0.2] = -np.inf
    if kind == "unknown":
        targets[generator.random(targets.shape) < 0.05] = np.nan
        targets[generator.random(targets.shape) < 0.05] = -100
    if kind == "not judged":
        targets[::3], targets[:, 2] = np.nan, -100
    if kind == "rarely judged":
        targets[1:, 1] = np.nan  # most resamples lack the only row that knows this label
    if kind == "soft":
        targets = np.clip(targets + generator.uniform(-0.6, 0.6, targets.shape), 0, 1)
    if kind == "many labels":
        logits, targets = np.tile(logits, 20), np.tile(targets, 20)
    if kind == "all or nothing":
        targets[:20], targets[20:40], targets[:, 0] = 0, 1, 0
    if kind == "two labels":
        logits, targets = logits[:, :2], targets[:, :2]
    decisions = generator.random(targets.shape) < 0.3 if kind == "decisions" else logits > 0
    return logits, targets, decisions


@pytest.mark.parametrize(
    "kind",
    ["plain", "equal scores", "masked", "unknown", "not judged", "rarely judged", "soft",
     "many labels", "all or nothing", "two labels", "decisions"],
)  # fmt: skip
def test_resample_has_the_metrics_of_its_rows(kind: str) -> None:
    logits, targets, decisions = made(kind)
    known = ~(np.isnan(targets) | (targets == -100))
    counts = DecisionCounts.from_decisions(decisions & known, known & (targets >= 0.5), known)
    means = RowMeans.from_scores(logits, targets, known)
    weights = next(draw_weights(len(targets), 3, seed=4))
    found = counts.metrics(weights) | means.metrics(weights)
    for draw, row_counts in enumerate(weights.astype(int)):
        assert row_counts.sum() == len(targets)
        rows = np.repeat(np.arange(len(targets)), row_counts)
        expected = compute_multi_label_metrics(
            logits[rows], targets[rows], predictions=decisions[rows]
        )
        defined = {name: values for name, values in found.items() if not np.isnan(values[draw])}
        assert set(defined) == set(expected) - LEFT_OUT
        for name, values in defined.items():
            assert values[draw] == pytest.approx(expected[name], abs=1e-6), name


def test_intervals_are_those_of_a_naive_bootstrap() -> None:
    logits, targets, _ = made("plain", rows=40)
    found = compute_intervals(logits, targets, resamples=2000, seed=1)
    generator = np.random.default_rng(7)
    picks = [generator.integers(0, 40, 40) for _ in range(400)]
    drawn = [compute_multi_label_metrics(logits[pick], targets[pick]) for pick in picks]
    for name in ("f1_macro", "hamming_loss", "lrap", "brier"):
        values = [metrics[name] for metrics in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        near = 0.15 * (high - low)
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=near), name


def test_intervals_hold_the_value_and_narrow_with_more_rows() -> None:
    widths = []
    for rows in (50, 800):
        logits, targets, _ = made("plain", rows=rows)
        found = compute_intervals(logits, targets, resamples=200)
        values = compute_multi_label_metrics(logits, targets)
        assert all(each.low <= values[name] <= each.high for name, each in found.items())
        widths.append(found["f1_micro"].high - found["f1_micro"].low)
    assert widths[1] < widths[0] / 2


def test_intervals_depend_on_the_seed() -> None:
    logits, targets, _ = made("plain")
    same = [compute_intervals(logits, targets, resamples=150, seed=seed) for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_metric_without_rankable_rows_has_no_interval() -> None:
    logits = np.array([[1.0, -1.0], [-1.0, 2.0]])
    empty = compute_intervals(logits, np.zeros((2, 2)), resamples=20)
    assert not {"lrap", "one_error"} & set(empty)
    assert empty["recall_micro"].high == 0
    unknown = compute_intervals(logits, np.full((2, 2), np.nan), resamples=20)
    assert unknown == {}
    # One row of five that can be ranked: resamples without it do not count.
    targets = np.array([[1, 0], [np.nan, 1], [np.nan, 0], [0, 0], [0, 0]])
    rare = compute_intervals(np.tile([1.0, -1.0], (5, 1)), targets, resamples=100)
    assert (rare["lrap"].low, rare["lrap"].high) == (1, 1)


def test_a_single_label() -> None:
    found = compute_intervals([[1.0], [-1.0], [2.0]], [[1], [0], [0]], resamples=50)
    assert found["precision_at_1"].high == 1
