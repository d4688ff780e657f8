"""Thresholds from few rows against optima that are known, and the least number of labels."""

import numpy as np
import pytest

from zlpr_hf.metrics.few_rows import find_min_labels, fit_few_row_thresholds
from zlpr_hf.metrics.threshold_tuning import fit_thresholds


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
    assert len(set(found.offsets)) == 1


def test_shifts_of_labels_move_the_offset_half_of_the_way() -> None:
    shift = np.array([-3.0, 0.0, 0.0, 3.0])
    logits, targets = make_rows(shift)
    found = np.asarray(fit_few_row_thresholds(logits, targets).offsets)
    one = np.asarray(fit_thresholds(logits, targets, metric="f1_micro").offsets)
    own = np.asarray(fit_thresholds(logits, targets, metric="f1_macro", scope="per_label").offsets)
    assert found == pytest.approx((one + own) / 2)
    assert found[0] < found[3]


def test_unknown_targets_do_not_count() -> None:
    logits, targets = make_rows(-3.0)
    more = np.vstack([logits, np.full((50, 4), 9.0)]), np.vstack([targets, np.full((50, 4), -100)])
    known, both = (fit_few_row_thresholds(*each) for each in ((logits, targets), more))
    assert both.offsets[0] == pytest.approx(known.offsets[0], abs=1.5)
    assert np.array_equal(both.apply(logits), targets > 0)


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
