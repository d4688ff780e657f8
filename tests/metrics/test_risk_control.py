"""Guarantees: formulas by exhaustive search, coverage on made rows, and MAPIE's results."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from zlpr_hf.metrics.risk_control import (
    MARGIN,
    MAX_FALSE_LABELS,
    Guarantee,
    fit_guarantee,
    measure_risks,
)
from zlpr_hf.thresholds import Thresholds


def make_rows(rows: int, labels: int = 6, seed: int = 0) -> tuple[Any, Any]:
    """Logits of a calibrated model, and targets drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, size=(rows, labels))
    return logits, (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def with_unknown(targets: Any, seed: int = 1) -> Any:
    hidden = np.random.default_rng(seed).random(targets.shape) < 0.2
    return np.where(hidden, np.where(targets == 1, -100, np.nan), targets)


def missed_share(logits: Any, targets: Any, offset: float) -> list[float]:
    """The risk of recall, row by row and cell by cell; rows without a known label have none."""
    risks = []
    for scores, truth in zip(logits, targets, strict=True):
        present = [score for score, value in zip(scores, truth, strict=True) if value == 1]
        if present:
            risks.append(sum(score <= offset for score in present) / len(present))
    return risks


def false_labels(logits: Any, targets: Any, offset: float) -> list[float]:
    risks = []
    for scores, truth in zip(logits, targets, strict=True):
        cells = [(s, t) for s, t in zip(scores, truth, strict=True) if t in (0, 1)]
        if cells:
            count = sum(score > offset and value == 0 for score, value in cells)
            risks.append(float(min(count, MAX_FALSE_LABELS)))
    return risks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_recall_is_the_largest_offset_whose_corrected_risk_is_below_the_level(
    seed: int, level: float
) -> None:
    logits, targets = make_rows(40, seed=seed)
    targets = with_unknown(targets)
    found = fit_guarantee(logits, targets, recall=level)
    allowed = []
    for offset in np.unique(logits) - 1e-9:
        risks = missed_share(logits, targets, offset)
        if (sum(risks) + 1) / (len(risks) + 1) <= 1 - level + 1e-9:
            allowed.append(offset)
    assert found.rows == len(missed_share(logits, targets, 0))
    assert max(allowed) - MARGIN <= found.offsets[0] <= max(allowed) + 1e-8
    assert len(set(found.offsets)) == 1
    same = (logits > found.offsets[0]) == (logits > max(allowed))
    assert same.all()  # no cell lies in the margin


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("labels", "level"), [(6, 0.5), (6, 1.5), (25, 2.0)])
def test_false_labels_is_the_smallest_offset_whose_corrected_risk_is_below_the_level(
    seed: int, labels: int, level: float
) -> None:
    logits, targets = make_rows(40, labels, seed)
    targets = with_unknown(targets)
    found = fit_guarantee(logits, targets, false_labels=level)
    bound = min(labels, MAX_FALSE_LABELS)
    allowed = []
    for offset in np.unique(logits):
        risks = false_labels(logits, targets, offset)
        if (sum(risks) + bound) / (len(risks) + 1) <= level + 1e-9:
            allowed.append(offset)
    assert found.rows == len(false_labels(logits, targets, 0))
    assert min(allowed) <= found.offsets[0] <= min(allowed) + MARGIN
    assert ((logits > found.offsets[0]) == (logits > min(allowed))).all()
    assert found.bound == (None if labels < MAX_FALSE_LABELS else MAX_FALSE_LABELS)


def test_recall_per_label_is_a_rank_among_the_positive_rows_of_each_label() -> None:
    logits, targets = make_rows(300, seed=3)
    targets[:, 5] = 0
    targets[:8, 5] = 1  # nine are needed
    found = fit_guarantee(logits, targets, recall=0.9, scope="per_label")
    assert found.uncovered == (5,)
    assert found.offsets[5] == fit_guarantee(logits, targets, recall=0.9).offsets[0]
    for label in range(5):
        own = np.sort(logits[targets[:, label] == 1, label])
        missed = math.floor((len(own) + 1) * 0.1 + 1e-9) - 1
        assert own[missed] - MARGIN <= found.offsets[label] < own[missed]
        assert (own > found.offsets[label]).sum() == len(own) - missed


@pytest.mark.parametrize("seed", range(5))
def test_keep_zero_never_moves_away_from_the_promise(seed: int) -> None:
    logits, targets = make_rows(300, seed=seed)
    promises: tuple[dict[str, Any], ...] = (
        {"recall": 0.1}, {"recall": 0.9}, {"recall": 0.6, "scope": "per_label"},
        {"false_labels": 0.1}, {"false_labels": 4.0},
    )  # fmt: skip
    for promise in promises:
        free = fit_guarantee(logits, targets, **promise)
        kept = fit_guarantee(logits, targets, **promise, keep_zero=True)
        nearest = min if "recall" in promise else max
        assert kept.offsets == tuple(nearest(each, 0.0) for each in free.offsets)
        assert kept == replace(free, offsets=kept.offsets)


def test_keep_zero_tests_no_offset_below_zero_for_precision() -> None:
    logits, targets = make_rows(2_000, seed=7)
    precise = measure_risks(logits > 0, targets)["precision"]
    easy = {"precision": precise - 0.1}
    assert fit_guarantee(logits, targets, **easy).offsets[0] < 0
    assert fit_guarantee(logits, targets, **easy, keep_zero=True).offsets == (0.0,) * 6
    hard = {"precision": precise + 0.03}
    found = fit_guarantee(logits, targets, **hard, keep_zero=True)
    assert found.offsets[0] > 0
    assert measure_risks(logits > found.offsets, targets)["precision"] >= precise + 0.03


def test_equal_logits_are_found_or_missed_together() -> None:
    logits, targets = np.zeros((30, 1)), np.ones((30, 1))
    assert (logits > fit_guarantee(logits, targets, recall=0.9).offsets[0]).all()
    targets = np.zeros((30, 1))
    assert not (logits > fit_guarantee(logits, targets, false_labels=0.5).offsets[0]).any()


@pytest.mark.parametrize(("kind", "level"), [("recall", 0.9), ("false_labels", 0.5)])
def test_mean_risk_of_new_rows_is_at_the_level(kind: str, level: float) -> None:
    """Over 400 draws of 60 calibration rows: within the level, and not far inside it."""
    logits, targets = make_rows(5_000, seed=5)
    rng = np.random.default_rng(6)
    values = []
    for _ in range(400):
        rows = rng.permutation(len(logits))[:360]
        own, new = rows[:60], rows[60:]
        arguments: Any = {kind: level}
        found = fit_guarantee(logits[own], targets[own], **arguments)
        values.append(measure_risks(logits[new] > found.offsets, targets[new])[kind])
    error = float(np.std(values) / math.sqrt(len(values)))
    surplus = np.mean(values) - level if kind == "recall" else level - np.mean(values)
    bound = 1 if kind == "recall" else 6
    assert -2 * error <= surplus <= 2 * bound / 61 + 2 * error


def test_precision_is_violated_in_at_most_the_share_of_the_confidence() -> None:
    logits, targets = make_rows(10_000, seed=7)
    rng = np.random.default_rng(8)
    violated, draws = 0, 200
    for seed in range(draws):
        own = rng.integers(0, len(logits), 400)
        try:
            found = fit_guarantee(
                logits[own], targets[own], precision=0.8, confidence=0.8, seed=seed
            )
        except ValueError:  # no promise, none broken
            continue
        violated += measure_risks(logits > found.offsets, targets)["precision"] < 0.8
    assert violated / draws <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / draws)
    assert violated > 0.05 * draws  # a test that never errs would be too careful


def test_precision_passes_an_exact_test_computed_cell_by_cell() -> None:
    """The certified offset by loops over rows, with the draws of the same generator."""
    logits, targets = make_rows(400, seed=9)
    targets = with_unknown(targets)
    found = fit_guarantee(logits, targets, precision=0.8, seed=4)
    rng = np.random.default_rng(4)
    known = np.isin(targets, (0, 1))
    rows = np.flatnonzero(known.any(1))
    order, place = rng.permutation(rows), rng.random(len(rows))
    predicted = wrong = 0
    for row, where in list(zip(order, place, strict=True))[50:]:
        labels = [j for j in np.argsort(-logits[row]) if known[row, j]]
        labels = [j for j in labels if logits[row, j] > found.offsets[0]]
        if labels:
            predicted += 1
            wrong += targets[row, labels[int(where * len(labels))]] == 0
    tail = sum(
        math.comb(predicted, k) * 0.2**k * 0.8 ** (predicted - k) for k in range(int(wrong) + 1)
    )
    assert tail <= 0.05
    assert found.rows == len(rows)


def test_risks_of_texts_without_labels_or_known_cells() -> None:
    logits = np.array([[2.0, 1.0], [2.0, -1.0], [3.0, 3.0]])
    targets = np.array([[1, 0], [0, 0], [-100, np.nan]])
    assert measure_risks(logits > 0, targets) == {
        "recall": 1.0,  # of the first text alone
        "false_labels": 1.0,  # of the first two texts
        "precision": 0.25,  # 1/2 and 0
        "labels_per_text": 1.5,
    }


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ({"recall": 0.99}, "99 "),
        ({"false_labels": 0.05}, "119 "),
        ({"precision": 0.99}, "349 "),
        ({"recall": 0.99, "scope": "per_label"}, "99 "),
    ],
)
def test_too_few_rows_name_the_number_that_is_needed(
    arguments: dict[str, Any], needed: str
) -> None:
    with pytest.raises(ValueError, match=needed):
        fit_guarantee(*make_rows(30), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"recall": 0.9, "precision": 0.9},
        {"recall": 1.0},
        {"recall": 0.0},
        {"false_labels": 6.0},
        {"precision": 0.8, "confidence": 1.0},
        {"precision": 0.8, "scope": "per_label"},
        {"recall": 0.8, "scope": "every label"},
        {"false_labels": 0.5, "scope": "per_label"},
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected|per_label"):
        fit_guarantee(*make_rows(30), **arguments)


def test_broken_arrays_and_hopeless_levels_are_refused() -> None:
    logits, targets = make_rows(100)
    with pytest.raises(ValueError, match="shape"):
        fit_guarantee(logits, targets[:, :2], recall=0.9)
    with pytest.raises(ValueError, match="NaN"):
        fit_guarantee(np.where(logits > 0, np.nan, logits), targets, recall=0.9)
    with pytest.raises(ValueError, match="no offset has precision"):
        fit_guarantee(logits, 1 - (logits > 0), precision=0.9)
    blank = np.full_like(logits, -1e4)
    with pytest.raises(ValueError, match="without content"):
        fit_guarantee(blank, np.ones_like(targets), recall=0.9)
    with pytest.raises(ValueError, match="no offset has precision"):
        fit_guarantee(blank, np.ones_like(targets), precision=0.9)


def test_recall_of_almost_nothing_is_reached() -> None:
    logits, targets = make_rows(100)
    found = fit_guarantee(logits, targets, recall=1e-12)
    assert found.offsets[0] < logits[targets == 1].max()


def test_texts_without_content_do_not_move_the_offset_of_false_labels() -> None:
    logits, targets = make_rows(100)
    logits[:3] = -1e4
    found = fit_guarantee(logits, np.ones_like(targets), false_labels=2.0)  # all may be predicted
    assert found.offsets[0] == pytest.approx(logits[3:].min() - 1)


def test_guarantee_survives_the_configuration() -> None:
    found = fit_guarantee(*make_rows(300), recall=0.9, scope="per_label")
    assert Guarantee.from_config(found.to_config()) == found
    assert Guarantee.from_config({}) is None


def test_limits_that_could_break_a_promise_are_removed() -> None:
    limits = Thresholds(min_labels=1, max_labels=3)
    kept = {
        kind: Guarantee(kind, 0.5, (0.0,), 1).keep_limits(limits)  # type: ignore[arg-type]
        for kind in ("recall", "false_labels", "precision")
    }
    assert kept == {
        "recall": Thresholds(min_labels=1),
        "false_labels": Thresholds(max_labels=3),
        "precision": Thresholds(),
    }


def test_recall_agrees_with_mapie() -> None:
    """MAPIE 1.6.0, ``MultiLabelClassificationController(risk="recall", method="crc")``.

    It searches a grid of scores, steps of 0.005 here, for the rows that have a label.
    """
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, size=(200, 6))
    targets = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    for level, expected in {0.7: 0.37, 0.8: 0.28, 0.9: 0.165, 0.95: 0.08}.items():
        found = fit_guarantee(logits, targets, recall=level)
        score = 1 / (1 + math.exp(-found.offsets[0]))
        assert math.floor(score / 0.005) * 0.005 == pytest.approx(expected)
        assert found.rows == 187
