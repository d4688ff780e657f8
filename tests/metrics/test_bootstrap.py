"""Intervals against metrics of rows that are written out, known formulas and simulated truths."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.bootstrap import (
    DecisionCounts,
    RowMeans,
    compute_intervals,
    draw_weights,
    explain_missing,
)
from zlpr_hf.metrics.intervals import difference_interval

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
    counts = DecisionCounts.from_targets(decisions, targets)
    means = RowMeans.from_scores(logits, targets)
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


def test_intervals_follow_from_a_naive_bootstrap() -> None:
    """The ends x solve Wilson's equation, |centre - x| = t sqrt(x (1 - x) / rows)."""
    logits, targets, _ = made("plain", rows=60)
    found = compute_intervals(logits, targets, resamples=4000, seed=1)
    once = compute_multi_label_metrics(logits, targets)
    generator = np.random.default_rng(7)
    picks = [generator.integers(0, 60, 60) for _ in range(400)]
    drawn = [compute_multi_label_metrics(logits[pick], targets[pick]) for pick in picks]
    quantile = stats.t.ppf(0.975, 59)
    for name in ("f1_macro", "f1_micro", "hamming_loss", "ndcg_at_5", "brier"):
        values = np.array([metrics[name] for metrics in drawn])
        centre = 2 * once[name] - values.mean()
        rows = once[name] * (1 - once[name]) / values.var(ddof=1)
        grid = np.linspace(0, 1, 100_001)
        inside = grid[np.abs(centre - grid) <= quantile * np.sqrt(grid * (1 - grid) / rows)]
        near = 0.15 * (inside[-1] - inside[0])
        expected = pytest.approx((inside[0], inside[-1]), abs=near)
        assert (found[name].low, found[name].high) == expected, name


@pytest.mark.parametrize("right", [0, 3, 150, 200])
def test_interval_of_a_share_of_rows_is_wilsons(right: int) -> None:
    decisions = np.zeros((200, 2), dtype=bool)
    decisions[right:, 0] = True
    found = compute_intervals(decisions - 0.5, np.zeros((200, 2)), resamples=20_000)
    expected = stats.binomtest(right, 200).proportion_ci(method="wilson")
    assert found["subset_accuracy"].low == pytest.approx(expected.low, abs=3e-3)
    assert found["subset_accuracy"].high == pytest.approx(expected.high, abs=3e-3)


def test_interval_of_a_mean_difference_is_students() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.2, 50)
    drawn = np.array([values @ draw / 50 for draw in next(draw_weights(50, 100, 0))])
    drawn += values.mean() - drawn.mean()
    found = difference_interval(values.mean(), drawn * values.std() / 50**0.5 / drawn.std(), 50)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=1e-6)


@pytest.mark.parametrize("labels", ["rare", "never predicted", "frequent", "not judged"])
def test_macro_average_has_an_interval_only_with_ten_rows_per_label(labels: str) -> None:
    targets = np.tile(np.eye(3), (10, 1))
    predictions = targets.astype(bool)
    if labels == "rare":
        targets[0, 0] = 0
    if labels == "never predicted":
        predictions[:, 1] = False
    if labels == "not judged":
        targets[:, 2] = np.nan
    found = compute_intervals(predictions - 0.5, targets, resamples=50)
    missing = explain_missing(predictions, targets)
    macro = {"f1_macro", "recall_macro", "precision_macro"}
    expected = {"rare": macro - {"precision_macro"}, "never predicted": {"precision_macro"}}
    assert set(missing) == macro - set(found) == expected.get(labels, set())
    assert all(each == "fewer than 10 rows for 1 of 3 labels" for each in missing.values())


def simulate_coverage(rows: int, frequencies: Any, recall: float, *, draws: int) -> dict[str, Any]:
    """Return how often the intervals hold the true value, which is known in closed form."""
    generator = np.random.default_rng(0)
    false = recall * frequencies / (1 - frequencies) / 4  # a precision of 0.8
    f1 = 2 * recall / (1.25 * recall + 1)
    right = np.prod(frequencies * recall + (1 - frequencies) * (1 - false))
    true = {"f1_micro": f1, "f1_macro": f1, "subset_accuracy": right}
    found: dict[str, list[bool]] = {name: [] for name in true}
    for _ in range(draws):
        targets = generator.random((rows, len(frequencies))) < frequencies
        decided = generator.random(targets.shape) < np.where(targets, recall, false)
        intervals = compute_intervals(decided - 0.5, targets, resamples=200)
        for name, value in true.items():
            if name in intervals:
                found[name].append(intervals[name].low <= value <= intervals[name].high)
    return found


def test_intervals_cover_the_true_value_or_are_not_given() -> None:
    """Percentiles of the same resamples cover macro-F1 in 60 to 80 % of the draws."""
    found = simulate_coverage(300, np.full(40, 25 / 300), 0.6, draws=120)
    rare = simulate_coverage(110, np.tile(np.arange(1, 11), 2) / 110, 0.6, draws=120)
    assert rare.pop("f1_macro") == []
    for name, covered in [*found.items(), *rare.items()]:
        assert len(covered) > 100, name
        assert np.mean(covered) > 0.88, name


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
    assert "recall_micro" not in empty
    unknown = compute_intervals(logits, np.full((2, 2), np.nan), resamples=20)
    assert unknown == {}
    # One row of five that can be ranked: resamples without it do not count.
    targets = np.array([[1, 0], [np.nan, 1], [np.nan, 0], [0, 0], [0, 0]])
    rare = compute_intervals(np.tile([1.0, -1.0], (5, 1)), targets, resamples=100)
    assert "lrap" not in rare
    targets[1] = [0, 1]
    rare = compute_intervals(np.tile([1.0, -1.0], (5, 1)), targets, resamples=100)
    assert rare["lrap"].low < 0.1 < 0.9 < rare["lrap"].high  # two rows say nothing


def test_a_single_label() -> None:
    found = compute_intervals([[1.0], [-1.0], [2.0]], [[1], [0], [1]], resamples=50)
    assert found["precision_at_1"].high == 1
