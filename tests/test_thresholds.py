"""The rule, its limits, tuning against exhaustive search, and folding into the bias."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from zlpr_hf import Thresholds, fit_thresholds
from zlpr_hf.choices import Scope
from zlpr_hf.metrics.multi_label import compute_decision_metrics


@pytest.fixture
def validation() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = rng.random((40, 3)) < [0.5, 0.3, 0.2]
    logits = rng.normal(size=targets.shape) + 1.5 * targets - [0.5, 2.0, 3.0]
    return logits, targets.astype(np.float32)


def test_global_micro_f1_is_the_optimum() -> None:
    """Rare labels: the best threshold lies among a few of many thousand cells."""
    generator = np.random.default_rng(0)
    truth = (generator.random((300, 90)) < 0.013).astype(np.float32)
    logits = generator.normal(size=truth.shape) + 3 * truth + 20
    offset = fit_thresholds(logits, truth, metric="f1_micro").offsets[0]
    values = np.unique(logits)
    f1 = [
        compute_decision_metrics(logits > x, truth)["f1_micro"]
        for x in (values[-1500:-1] + values[-1499:]) / 2
    ]
    assert compute_decision_metrics(logits > offset, truth)["f1_micro"] == max(f1)


def test_label_is_predicted_above_zero() -> None:
    logits = np.array([[-1e-6, 0.0, 1e-6]])
    assert Thresholds().apply(logits).tolist() == [[False, False, True]]
    assert Thresholds((-1.0, 0.5, 0.0)).apply(logits).tolist() == [[True, False, True]]


def test_limits() -> None:
    logits = np.array([[3.0, 1.0, 2.0], [-3.0, -1.0, -2.0]])
    assert Thresholds(min_labels=2).apply(logits).tolist() == [[True] * 3, [False, True, True]]
    assert Thresholds(max_labels=2).apply(logits).tolist() == [[True, False, True], [False] * 3]
    assert Thresholds(min_labels=1, max_labels=1).apply(logits).sum(1).tolist() == [1, 1]
    for wrong in ({"min_labels": -1}, {"max_labels": 0}, {"min_labels": 3, "max_labels": 2}):
        with pytest.raises(ValueError, match="min_labels <= max_labels"):
            Thresholds(**wrong)


def candidates(scores: np.ndarray) -> np.ndarray:
    values = np.unique(scores)
    return np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])


def test_per_label_macro_is_the_optimum(validation: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = validation
    fitted = fit_thresholds(logits, targets, metric="f1_macro", scope="per_label")
    best = [
        max(
            f1_score(targets[:, i], logits[:, i] > c, zero_division=0)
            for c in candidates(logits[:, i])
        )
        for i in range(3)
    ]
    assert f1_score(targets, fitted.apply(logits), average="macro") == pytest.approx(np.mean(best))


def test_per_label_micro_is_the_optimum(validation: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = validation[0][:16, :2], validation[1][:16, :2]
    fitted = fit_thresholds(logits, targets, metric="f1_micro", scope="per_label", min_positives=1)
    best = max(
        f1_score(targets, logits > np.array(pair), average="micro")
        for pair in itertools.product(*(candidates(logits[:, i]) for i in range(2)))
    )
    assert f1_score(targets, fitted.apply(logits), average="micro") == pytest.approx(best)


@pytest.mark.parametrize(
    "metric", ["f1_micro", "f1_macro", "f1_samples", "jaccard_samples", "subset_accuracy"]
)
def test_global_never_loses_to_zero(validation: tuple[np.ndarray, np.ndarray], metric: str) -> None:
    logits, targets = validation
    fitted = fit_thresholds(logits, targets, metric=metric)
    assert len(set(fitted.offsets)) == 1
    tuned = compute_decision_metrics(fitted.apply(logits), targets)[metric]
    assert tuned >= compute_decision_metrics(logits > 0, targets)[metric]


@pytest.mark.parametrize("limits", [{"min_labels": 1}, {"max_labels": 1}, {"min_labels": 2}])
def test_global_offset_is_the_best_one_under_the_limits(
    validation: tuple[np.ndarray, np.ndarray], limits: dict[str, int]
) -> None:
    logits, targets = validation
    fitted = fit_thresholds(logits, targets, metric="f1_micro", **limits)
    assert (fitted.min_labels, fitted.max_labels) == (
        limits.get("min_labels", 0),
        limits.get("max_labels"),
    )
    found = f1_score(targets, fitted.apply(logits), average="micro")
    rules = [Thresholds((offset,) * 3, **limits) for offset in candidates(logits)]
    best = max(f1_score(targets, rule.apply(logits), average="micro") for rule in rules)
    assert found == pytest.approx(best)
    for metric in ("f1_macro", "subset_accuracy"):
        values = [
            compute_decision_metrics(Thresholds(rule.offsets, **limits).apply(logits), targets)[
                metric
            ]
            for rule in (
                fit_thresholds(logits, targets, metric=metric, **limits),
                fit_thresholds(logits, targets, metric=metric),
            )
        ]
        assert values[0] >= values[1]


@pytest.mark.parametrize("scope", ["global", "per_label"])
def test_texts_without_content_move_no_offset(
    validation: tuple[np.ndarray, np.ndarray], scope: Scope
) -> None:
    logits, targets = validation
    blank = np.full((3, 3), -1e4)
    for metric in ("f1_micro", "f1_macro"):
        alone = fit_thresholds(logits, targets, metric=metric, scope=scope)
        found = fit_thresholds(
            np.concatenate([blank, logits]),
            np.concatenate([np.eye(3), targets]),
            metric=metric,
            scope=scope,
        )
        assert found == alone
        only = fit_thresholds(blank, np.eye(3), metric=metric, scope=scope, min_positives=1)
        assert only.offsets == (0, 0, 0)
    assert not Thresholds((-2e4,) * 3, min_labels=1).apply(blank).any()
    assert Thresholds(min_labels=1).apply(blank[0]).tolist() == [False] * 3


def test_rare_labels_keep_zero_and_unknown_rows_do_not_count() -> None:
    logits = np.array([[0.5, -1.0], [0.6, -2.0], [-0.5, -3.0], [9.0, -0.5]])
    targets = np.array([[0, 1], [1, 0], [0, 0], [np.nan, 0]])
    fitted = fit_thresholds(logits, targets, scope="per_label", min_positives=1)
    assert fitted.offsets[0] == pytest.approx(0.55)
    assert fit_thresholds(logits, targets, scope="per_label", min_positives=2).offsets == (0, 0)


def test_unknown_choices() -> None:
    with pytest.raises(ValueError, match="scope must be global or per_label, got 'label'"):
        fit_thresholds([[0.0]], [[1]], scope="label")
    with pytest.raises(
        ValueError, match="must be one of f1_micro, f1_macro, got 'subset_accuracy'"
    ):
        fit_thresholds([[0.0]], [[1]], scope="per_label", metric="subset_accuracy")


def test_folding_keeps_decisions_and_moves_the_threshold_to_zero() -> None:
    torch.manual_seed(0)
    head, config, hidden = (
        nn.Linear(4, 3),
        SimpleNamespace(zlpr={"loss": "zlpr"}),
        torch.randn(50, 4),
    )
    thresholds = Thresholds((0.3, -0.7, 0.1), max_labels=2)
    before = thresholds.apply(head(hidden).detach().numpy())
    rest = thresholds.fold_into(head, config)
    assert rest == Thresholds(max_labels=2) == Thresholds.from_config(config)
    assert config.zlpr["loss"] == "zlpr"
    assert (rest.apply(head(hidden).detach().numpy()) == before).all()
    assert Thresholds.from_config(SimpleNamespace()) == Thresholds()
