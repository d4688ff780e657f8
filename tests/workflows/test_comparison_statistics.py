"""Statistics of a comparison against naive ones."""

from typing import Any

import numpy as np
import pytest

from zlpr_hf.thresholds import Thresholds
from zlpr_hf.workflows.comparison.statistics import evaluate_rule, fit_rules, split_into_groups


def made(rows: int = 80) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    truth = (generator.random((rows, 5)) < 0.3).astype(np.float32)
    truth[0, 0] = np.nan
    return truth, generator.random((rows, 5)) < 0.2 + 0.6 * np.nan_to_num(truth)


def test_groups_are_thirds_by_frequency() -> None:
    targets = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]])
    groups = split_into_groups(targets)
    assert {name: labels.tolist() for name, labels in groups.items()} == {
        "head": [1, 3], "middle": [4, 0], "tail": [5, 2],
    }  # fmt: skip


def test_group_that_no_test_row_knows_has_no_mean() -> None:
    truth, good = made()
    truth[:, 3:] = np.nan
    groups = {"head": np.array([0, 1]), "middle": np.array([2, 3]), "tail": np.array([4])}
    found = evaluate_rule(good - 0.5, truth, Thresholds(), groups)
    assert "f1_macro_tail" not in found
    alone = evaluate_rule(
        (good - 0.5)[:, :3], truth[:, :3], Thresholds(), {"middle": np.array([2])}
    )
    assert found["f1_macro_middle"] == alone["f1_macro_middle"]


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
