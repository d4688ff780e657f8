"""Statistics of a comparison against naive ones."""

from typing import Any

import numpy as np
import pytest

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.workflows.comparison.statistics import (
    PAIRED_METRICS,
    evaluate_rule,
    fit_rules,
    paired_bootstrap,
    split_into_groups,
)


def made(seed: int = 0, rows: int = 40) -> tuple[Any, ...]:
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
        assert interval.low <= interval.difference <= interval.high


def test_interval_equals_that_of_a_naive_bootstrap() -> None:
    truth, good, poor = made(rows=30)
    draws = 2000
    found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=draws)
    generator, differences = np.random.default_rng(5), []
    for _ in range(draws):
        pick = generator.integers(0, 30, 30)
        values = []
        for runs in (good, poor):
            hits = [
                (2 * (run & (truth >= 0.5))[pick].sum())
                / ((run & ~np.isnan(truth))[pick].sum() + (truth >= 0.5)[pick].sum())
                for run in runs
            ]
            values.append(np.mean(hits))
        differences.append(values[1] - values[0])
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found["b"]["f1_micro"].low == pytest.approx(low, abs=0.02)
    assert found["b"]["f1_micro"].high == pytest.approx(high, abs=0.02)


def test_equal_predictors_do_not_differ() -> None:
    truth, good, _ = made()
    found = paired_bootstrap({"a": good, "b": good}, truth, reference="a", resamples=100)
    assert all(x.difference == x.low == x.high == 0 for x in found["b"].values())
    assert not any(x.is_clear for x in found["b"].values())


def test_groups_are_thirds_by_frequency() -> None:
    targets = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]])
    groups = split_into_groups(targets)
    assert {name: labels.tolist() for name, labels in groups.items()} == {
        "head": [1, 3], "middle": [4, 0], "tail": [5, 2],
    }  # fmt: skip


def test_rules_are_fitted_on_validation() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random((200, 4)) < 0.3).astype(np.float32)
    logits = 2 * truth - 3 + generator.normal(size=truth.shape)  # zero lies too high
    rules = fit_rules(logits, truth, metric="f1_micro")
    groups = split_into_groups(truth)
    f1 = {name: evaluate_rule(logits, truth, rule, groups) for name, rule in rules.items()}
    assert f1["own"]["f1_micro"] < f1["global"]["f1_micro"] <= f1["per_label"]["f1_micro"]
    thirds = [f1["own"][f"f1_macro_{group}"] for group in groups]
    weights = [len(labels) for labels in groups.values()]
    assert np.average(thirds, weights=weights) == pytest.approx(f1["own"]["f1_macro"])
