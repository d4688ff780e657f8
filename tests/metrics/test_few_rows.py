"""Thresholds from few rows against optima that are known, and the least number of labels."""

import numpy as np
import pytest

from zlpr_hf.metrics.few_rows import find_min_labels, fit_few_row_thresholds


def make_rows(shift: float | np.ndarray, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose best threshold is the shift, far from the other logits of both classes."""
    rng = np.random.default_rng(0)
    targets = rng.random((rows, 4)) < 0.4
    targets[np.arange(rows), rng.integers(0, 4, rows)] = True
    logits = np.where(targets, 2.0, -2.0) + rng.normal(0, 0.3, targets.shape) + shift
    return logits, targets.astype(np.float32)


def test_good_logits_keep_zero() -> None:
    assert fit_few_row_thresholds(*make_rows(0.0)).offsets == ()


def test_a_common_shift_is_removed() -> None:
    logits, targets = make_rows(-3.0)
    found = fit_few_row_thresholds(logits, targets)
    assert np.array_equal(found.apply(logits), targets > 0)
    assert np.ptp(found.offsets) < 0.5


def test_half_of_the_differences_between_labels_is_kept() -> None:
    shift = np.array([-3.0, 0.0, 0.0, 3.0])
    found = np.asarray(fit_few_row_thresholds(*make_rows(shift)).offsets)
    assert found - found.mean() == pytest.approx(shift / 2, abs=0.25)


@pytest.mark.parametrize("min_labels", [0, 1])
def test_an_offset_is_the_mean_of_the_best_ones_of_bootstrap_samples(min_labels: int) -> None:
    rng = np.random.default_rng(3)
    targets = rng.random((30, 2)) < 0.4
    logits = rng.normal(size=(30, 1)) + 2 * targets.any(1, keepdims=True)
    logits = np.repeat(logits, 2, 1) + 1e-3 * rng.normal(size=(30, 2))
    found = fit_few_row_thresholds(logits, targets.astype(float), min_labels=min_labels)
    shares = targets.mean() * np.geomspace(0.1, 1, 100)
    offsets = sorted({0.0, *np.quantile(logits, 1 - shares).tolist()}, key=abs)
    best = np.eye(2, dtype=bool)[logits.argmax(1)] if min_labels else np.zeros((30, 2), bool)
    chosen = []
    for weights in np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), 100):
        values = []
        for offset in offsets:
            decided = (logits > offset) | best
            drawn, said = (np.repeat(each, weights, axis=0) for each in (targets, decided))
            hits, sums = (drawn & said).sum(0), drawn.sum(0) + said.sum(0)
            micro, macro = 2 * hits.sum() / max(sums.sum(), 1), np.mean(2 * hits / sums.clip(1))
            values.append(round(micro + macro + (drawn == said).all(1).mean(), 9))
        chosen.append(offsets[int(np.argmax(values))])
    assert np.mean(found.offsets) == pytest.approx(np.mean(chosen))


@pytest.mark.parametrize("density", [0.4, 0.8])
def test_shared_offset_predicts_at_most_as_many_labels_as_there_are(density: float) -> None:
    """Random logits have the best F1 if all labels are predicted."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 4)) - 5
    targets = (rng.random((200, 4)) < density).astype(np.float32)
    shared = np.mean(fit_few_row_thresholds(logits, targets).offsets)
    assert (logits > shared).mean() == pytest.approx(targets.mean(), abs=0.01)


def test_labels_that_no_row_has_get_the_offset_of_all() -> None:
    logits, targets = make_rows(np.array([-2.0, -2.0, -2.0, 5.0]))
    targets[:, 3] = 0
    logits[:, 3] = -9
    found = np.asarray(fit_few_row_thresholds(logits, targets).offsets)
    assert found[3] == pytest.approx(found[:3].mean())
    assert fit_few_row_thresholds(logits, np.zeros_like(targets)).offsets == ()


def test_texts_without_content_do_not_count() -> None:
    logits, targets = make_rows(-3.0)
    blank = np.vstack([logits, np.full((9, 4), -1e4)]), np.vstack([targets, np.zeros((9, 4))])
    found, expected = (fit_few_row_thresholds(*each) for each in (blank, (logits, targets)))
    assert found.offsets == expected.offsets


def test_unknown_targets_do_not_count() -> None:
    logits, targets = make_rows(-3.0)
    more = np.vstack([logits, np.full((50, 4), 9.0)]), np.vstack([targets, np.full((50, 4), -100)])
    known, both = (fit_few_row_thresholds(*each) for each in ((logits, targets), more))
    assert both.offsets[0] == pytest.approx(known.offsets[0], abs=1.5)
    assert np.array_equal(both.apply(logits), targets > 0)


def test_rows_without_a_known_target_do_not_count() -> None:
    logits, targets = make_rows(-3.0)
    more = np.vstack([logits, np.zeros((9, 4))]), np.vstack([targets, np.full((9, 4), -100)])
    found, expected = (fit_few_row_thresholds(*each) for each in (more, (logits, targets)))
    assert found.offsets == expected.offsets


def test_min_labels_are_kept() -> None:
    logits, targets = make_rows(-3.0)
    assert fit_few_row_thresholds(logits, targets, min_labels=1).min_labels == 1


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([[1, 0], [1, 1]], 1),
        ([[1, 0], [0, 0]], 0),
        ([[1, -100], [-100, -100]], 1),
        ([[1, -100], [0, -100]], 1),
        ([[-100, -100]], 0),
        ([[0.6, 0.4]], 1),
    ],
)
def test_rows_decide_whether_a_text_needs_a_label(targets: object, expected: int) -> None:
    assert find_min_labels(targets) == expected
