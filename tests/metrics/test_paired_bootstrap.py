"""Paired differences and their intervals against naive ones."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS, Difference, paired_bootstrap


def made(seed: int = 0, rows: int = 80) -> tuple[Any, ...]:
    generator = np.random.default_rng(seed)
    truth = (generator.random((rows, 5)) < 0.3).astype(np.float32)
    truth[0, 0] = np.nan
    good = [generator.random((rows, 5)) < 0.2 + 0.6 * np.nan_to_num(truth) for _ in range(2)]
    poor = [generator.random((rows, 5)) < 0.3 for _ in range(2)]
    return truth, good, poor


def test_differences_equal_those_of_the_metrics() -> None:
    truth, good, poor = made()
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=100)
    assert set(found) == {"b"}
    for metric in PAIRED_METRICS:
        means = [
            np.mean(
                [
                    compute_multi_label_metrics(run - 0.5, truth, predictions=run)[metric]
                    for run in runs
                ]
            )
            for runs in (good, poor)
        ]
        interval = found["b"][metric]
        assert interval.difference == pytest.approx(means[1] - means[0], abs=1e-6)
        assert interval.ends is not None
        assert interval.ends[0] <= interval.difference <= interval.ends[1]


def test_interval_follows_from_a_naive_bootstrap() -> None:
    """Student's interval with the bias and the standard deviation of the resamples."""
    truth, good, poor = made(rows=30)
    draws = 2000
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=draws)
    generator, differences = np.random.default_rng(5), []
    for _ in range(draws):
        pick, seeds = generator.integers(0, 30, 30), generator.integers(0, 2, 2)
        values = []
        for each in (good, poor):
            runs = [each[seed] for seed in seeds]
            hits = [
                (2 * (run & (truth >= 0.5))[pick].sum())
                / ((run & ~np.isnan(truth))[pick].sum() + (truth >= 0.5)[pick].sum())
                for run in runs
            ]
            values.append(np.mean(hits))
        differences.append(values[1] - values[0])
    interval = found["b"]["f1_micro"]
    centre = 2 * interval.difference - np.mean(differences)
    differ = sum((one != two).any(1) for one, two in zip(good, poor, strict=True)) > 0
    width = stats.t.ppf(0.975, differ.sum() - 1) * np.std(differences, ddof=1)
    assert interval.ends == pytest.approx((centre - width, centre + width), abs=0.02)
    deviations = abs(interval.ends[0] + interval.ends[1]) / 2 * 1.959964 / width
    assert interval.p_value == pytest.approx(2 * stats.norm.sf(deviations), abs=0.01)


@pytest.mark.parametrize("rows", [0, 9, 10])
def test_interval_needs_ten_rows_that_differ(rows: int) -> None:
    truth = np.tile(np.eye(3, dtype=np.float32), (20, 1))
    good, poor = truth > 0, truth > 0
    poor[:rows, 0] ^= True
    found = paired_bootstrap({"a": [good], "b": [poor]}, truth, reference="a", resamples=100)["b"]
    assert all((interval.ends is None) == (rows < 10) for interval in found.values())
    assert all(bool(interval.missing) == (rows < 10) for interval in found.values())
    assert all(interval.is_clear == (rows >= 10) for interval in found.values())
    if rows < 10:
        assert (found["f1_micro"].low, found["f1_micro"].difference < 0) == (None, rows > 0)


def test_macro_difference_needs_ten_rows_per_label() -> None:
    truth, good, poor = made(rows=400)
    truth[:, 4] = 0
    truth[:9, 4] = 1
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=50)["b"]
    assert found["f1_macro"] == Difference(
        found["f1_macro"].difference, None, None, "fewer than 10 rows for 1 of 5 labels"
    )
    assert found["f1_micro"].ends is not None
    truth[9, 4] = 1
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=50)["b"]
    assert found["f1_macro"].ends is not None


def test_wholly_unknown_test_rows_have_no_interval() -> None:
    truth, good, poor = made()
    truth[:] = np.nan
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=50)["b"]
    assert all(x.difference == 0 and x.ends is None for x in found.values())
