"""Data of the charts, compared with metrics that are computed in another way."""

import math
import re

import numpy as np
import pytest

from tests.reports.builders import NAMES, make_logits
from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.reports.figures import (
    PEAKED_METRICS,
    Pair,
    ThresholdCurves,
    choose_thresholds,
    compute_metrics_at,
    find_pairs,
    plot_history,
    plot_reliability,
)
from zlpr_hf.reports.verdict import HistoryEntry
from zlpr_hf.thresholds import compute_scores


def test_metrics_at_a_threshold_equal_those_of_its_decisions() -> None:
    logits, targets = make_logits()
    targets[:5, 0], targets[5:9, 1] = np.nan, -100
    thresholds = np.arange(-30, 31) / 10
    logits[:8] = np.round(logits[:8])  # on the thresholds themselves
    known = ~(np.isnan(targets) | (targets == -100))
    found = compute_metrics_at(thresholds, logits, known & (targets >= 0.5), known)
    for place, threshold in enumerate(thresholds):
        expected = compute_decision_metrics(logits > threshold, targets)
        for name, values in found.items():
            assert values[place] == pytest.approx(expected[name]), (name, threshold)


@pytest.mark.parametrize("shift", [-7.0, 0.0, 5.0])
def test_thresholds_include_the_maximum_of_each_metric(shift: float) -> None:
    """Every threshold that makes a difference is tried: each score, and just below it."""
    logits, targets = make_logits(rows=40)
    logits += shift
    known = np.ones_like(targets, dtype=bool)
    thresholds = choose_thresholds(logits, targets > 0, known)
    assert 0 in thresholds
    assert (np.diff(thresholds) > 0).all()
    cuts = np.concatenate([logits.ravel(), np.nextafter(logits.ravel(), -np.inf)])
    everything = [compute_decision_metrics(logits > cut, targets) for cut in cuts]
    found = compute_metrics_at(thresholds, logits, targets > 0, known)
    for name in PEAKED_METRICS:
        best = max(metrics[name] for metrics in everything)
        assert found[name].max() == pytest.approx(best)
        assert found[name][[0, -1]].max() < best  # not at an end of the chart


def test_threshold_chart_has_a_text_alternative() -> None:
    logits, targets = make_logits()
    curves = ThresholdCurves.compute(logits, targets > 0, np.ones_like(targets, dtype=bool))
    assert curves is not None
    plot = curves.plot()
    expected = compute_multi_label_metrics(logits, targets)["f1_micro"]
    assert f"F1 micro: {expected:.3f} at zero" in plot.description
    assert plot.x_range[0] <= -1
    assert plot.x_range[1] >= 1


@pytest.mark.parametrize("shift", [-2.0, 3.0])
def test_choices_are_zero_and_the_maxima_as_scores(shift: float) -> None:
    logits, targets = make_logits(rows=200)
    logits += shift
    curves = ThresholdCurves.compute(logits, targets > 0, np.ones_like(targets, dtype=bool))
    assert curves is not None
    own, *best = curves.choices()
    assert (own.logit, own.score) == (0.0, 0.5)
    for choice in (own, *best):
        decided = compute_scores(logits) > choice.score
        expected = compute_decision_metrics(decided, targets)
        for name, value in choice.metrics.items():
            assert value == pytest.approx(expected[name])
    dots = [dot for line in curves.plot().lines for dot in line.dots]
    assert [(dot.x, dot.y) for dot in dots] == [
        (choice.logit, choice.metrics[name])
        for name, choice in zip(PEAKED_METRICS, best, strict=True)
    ]
    assert ThresholdCurves.compute(logits, targets > 0, targets > 9) is None


def test_history_is_drawn_by_epoch_with_the_kept_one_marked() -> None:
    entries = [
        HistoryEntry(1.0, 3.0, 4.0, 0.1, None, False),
        HistoryEntry(2.0, None, 2.0, 0.3, None, True),
        HistoryEntry(3.0, 1.0, math.inf, 0.2, None, False),
    ]
    loss, f1 = plot_history(entries)
    assert [line.points for line in loss.lines] == [[(1, 3), (3, 1)], [(1, 4), (2, 2)]]
    assert [line.points for line in f1.lines] == [[(1, 0.1), (2, 0.3), (3, 0.2)]]
    assert (loss.marker, loss.x_range, f1.y_range) == (2.0, (1.0, 3.0), (0.0, 1.0))
    assert loss.y_range[1] > 4
    assert plot_history(entries[:1]) == []


def test_reliability_dots_give_the_calibration_error() -> None:
    logits, targets = make_logits(rows=400)
    known = np.random.default_rng(3).random(targets.shape) < 0.9
    plot = plot_reliability(logits, targets, known)
    assert plot is not None
    (line,) = plot.lines
    sizes = np.array(
        [int(re.sub(r" decisions.*|,", "", dot.meaning)) for dot in line.dots]
    )  # fmt: skip
    gaps = np.array([abs(dot.x - dot.y) for dot in line.dots])
    assert sizes.sum() == known.sum()
    expected = compute_multi_label_metrics(logits, np.where(known, targets, np.nan))["ece"]
    assert np.sum(sizes * gaps) / known.sum() == pytest.approx(expected, abs=1e-6)
    assert plot_reliability(logits, targets, known & False) is None


def test_pairs_with_the_largest_gap_come_first() -> None:
    present = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=bool)
    predicted = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]], dtype=bool)
    assert find_pairs(NAMES[:4], present, predicted) == [
        Pair("red", "green", 2, 1),
        Pair("red", "blue", 1, 0),
    ]
    assert find_pairs(NAMES[:4], present & False, predicted) == []
