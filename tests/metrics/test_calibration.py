"""The temperature against a grid and against scipy, and calibration against double loops."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from zlpr_hf import fit_temperature
from zlpr_hf.metrics.calibration import TEMPERATURES, Calibration, describe_scores


def draw(rows: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure by a factor, with hard targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, size=(rows, 6))
    targets = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return scale * logits, targets.astype(np.float32)


def cross_entropy(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """The mean over all cells, one by one."""
    total = 0.0
    for logit, target in zip(logits.ravel().tolist(), targets.ravel().tolist(), strict=True):
        margin = logit / temperature
        total += math.log1p(math.exp(-abs(margin))) + max(margin, 0) - target * margin
    return total / logits.size


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_temperature_minimises_the_cross_entropy(scale: float) -> None:
    logits, targets = draw(2000, scale)
    expected = minimize_scalar(
        lambda log_t: cross_entropy(logits, targets, math.exp(log_t)),
        bounds=(-3, 3),
        method="bounded",
    )
    assert fit_temperature(logits, targets) == pytest.approx(math.exp(expected.x), rel=2e-3)


def test_temperature_of_few_cells_minimises_the_smoothed_cross_entropy() -> None:
    """Platt's targets: as if half a positive and half a negative cell more were wrong."""
    logits, targets = draw(8, 2.0)
    positive = targets.sum()
    negative = targets.size - positive
    smoothed = np.where(targets > 0, (positive + 0.5) / (positive + 1), 0.5 / (negative + 1))
    grid = np.exp(np.linspace(-3, 3, 2001))
    best = grid[np.argmin([cross_entropy(logits, smoothed, t) for t in grid])]
    assert fit_temperature(logits, targets) == pytest.approx(best, rel=4e-3)


def test_soft_targets_need_no_temperature_where_they_are_the_scores() -> None:
    logits, _ = draw(5000, 1.0)
    assert fit_temperature(logits, 1 / (1 + np.exp(-logits))) == pytest.approx(1, rel=1e-3)


def test_unknown_cells_and_texts_without_content_do_not_count() -> None:
    logits, targets = draw(300, 2.0)
    expected = fit_temperature(logits, targets)
    wider = np.column_stack([targets, np.full(len(targets), -100.0)])
    wider[::2, -1] = math.nan
    more = np.column_stack([logits, np.full(len(logits), 7.0)])
    more = np.vstack([more, np.full((2, 7), -9999.5)])
    wider = np.vstack([wider, np.eye(2, 7)])
    assert fit_temperature(more, wider) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 30])
def test_split_without_mistakes_does_not_end_in_certainty(rows: int) -> None:
    targets = np.tile([1.0, 0.0, 0.0], (rows, 1))
    logits = 8 * targets - 4
    temperature = fit_temperature(logits, targets)
    sure = 1 / (1 + math.exp(-4 / temperature))
    assert (rows + 0.5) / (rows + 1) < sure < (2 * rows + 0.5) / (2 * rows + 1)


@pytest.mark.parametrize("target", [0, 1, -100])
def test_nothing_is_fitted_to_one_kind_of_target(target: int) -> None:
    assert fit_temperature([[1.0, -2.0]], [[target, target]]) == 1
    assert fit_temperature(np.zeros((0, 2)), np.zeros((0, 2))) == 1


def test_temperature_is_bounded() -> None:
    logits, targets = draw(300, 1.0)
    assert fit_temperature(-logits, targets) == TEMPERATURES[1]
    assert fit_temperature(1e-3 * logits, targets) == TEMPERATURES[0]
    assert fit_temperature(np.zeros_like(logits), targets) == TEMPERATURES[1]


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        fit_temperature([[1.0]], [[1, 0]])
    with pytest.raises(ValueError, match="NaN"):
        fit_temperature([[math.nan]], [[1]])


def test_calibration_equals_a_loop_over_bins() -> None:
    logits, targets = draw(400, 1.5)
    targets[::7, 2] = -100
    found = Calibration.measure(logits, targets)
    known = targets != -100
    cells = [
        (1 / (1 + math.exp(-s)), t)
        for s, t in zip(logits[known].tolist(), targets[known].tolist(), strict=True)
    ]

    def ece(some: list[tuple[float, float]]) -> float:
        error = 0.0
        for low in range(15):
            inside = [(p, t) for p, t in some if low / 15 <= p < (low + 1) / 15]
            if inside:
                error += abs(sum(p for p, _ in inside) - sum(t for _, t in inside))
        return error / len(some)

    shown = [(p, t) for p, t in cells if p >= 0.05]
    sure = [t for p, t in cells if p > 0.95]
    assert found is not None
    assert (found.cells, found.shown_cells, found.sure_cells) == (
        len(cells),
        len(shown),
        len(sure),
    )
    assert found.ece == pytest.approx(ece(cells))
    assert found.shown_ece == pytest.approx(ece(shown)) != pytest.approx(found.ece)
    assert found.sure_true == pytest.approx(sum(sure) / len(sure))
    assert found.brier == pytest.approx(sum((p - t) ** 2 for p, t in cells) / len(cells))


def test_sentence_holds_the_measured_numbers() -> None:
    found = Calibration(900, 0.0481, 400, 0.1314, 266, 0.744, 0.1)
    sentence = describe_scores(found, 1.874)
    assert all(part in sentence for part in ("74 %", "266", "0.048", "0.131", "1.87"))
    none_sure = Calibration(900, 0.0481, 400, 0.1314, 0, 0.0, 0.1).describe()
    assert "%" not in none_sure
    assert Calibration.measure([[1.0]], [[-100]]) is None
    assert "sigmoid(logit)" in describe_scores(None, None)


def test_numbers_of_a_configuration_are_read_or_left_out() -> None:
    fields = {
        "cells": 9, "ece": 0.1, "shown_cells": 5, "shown_ece": 0.2, "sure_cells": 1,
        "sure_true": 1.0, "brier": 0.1,
    }  # fmt: skip
    assert Calibration.from_config(fields) == Calibration(**fields)  # type: ignore[arg-type]
    for stored in ({}, fields | {"more": 1}, fields | {"ece": "<b>"}):
        assert Calibration.from_config(stored) is None
