"""Folds of training rows: shares of labels, groups, and when a run is cross-fitted by default."""

import numpy as np
import pytest

from zlpr_hf.data.folds import assign_folds, has_few_rows
from zlpr_hf.errors import InputError


def test_each_fold_has_its_share_of_each_label() -> None:
    rng = np.random.default_rng(0)
    sets = [[name for name, share in zip("abc", (0.5, 0.2, 0.1), strict=True) if share > draw]
            for draw in rng.random(300)]  # fmt: skip
    folds = assign_folds(sets, 5, seed=1)
    assert np.bincount(folds).tolist() == pytest.approx([60] * 5, abs=3)
    for name in "abc":
        has = np.array([name in each for each in sets])
        counts = np.bincount(folds[has], minlength=5)
        assert counts.max() - counts.min() <= 2


def test_rows_of_a_group_are_in_one_fold() -> None:
    sets = [["a"], ["b"], [], ["a", "b"]] * 15
    groups = [f"group {index // 3}" for index in range(60)]
    folds = assign_folds(sets, 4, seed=0, groups=groups)
    assert set(folds.tolist()) == {0, 1, 2, 3}
    assert all(len({*folds[start : start + 3].tolist()}) == 1 for start in range(0, 60, 3))


def test_the_seed_decides() -> None:
    sets = [["a"], ["b"]] * 20
    first, again, other = (assign_folds(sets, 5, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_few_rows_leave_no_fold_empty() -> None:
    for rows in range(5, 12):
        found = assign_folds([["a"]] * (rows - 1) + [["b"]], 5, seed=0)
        assert np.bincount(found, minlength=5).min() >= 1


@pytest.mark.parametrize(("rows", "folds"), [(4, 5), (40, 1)])
def test_too_few_rows_or_folds_are_refused(rows: int, folds: int) -> None:
    with pytest.raises(InputError, match="folds"):
        assign_folds([["a"]] * rows, folds, seed=0)


def test_rows_without_any_label_are_refused() -> None:
    with pytest.raises(InputError, match="no row has a label"):
        assign_folds([[]] * 40, 5, seed=0)


def test_few_rows_are_few_in_all_or_per_label() -> None:
    assert [has_few_rows(rows, 3) for rows in (1, 299, 300)] == [True, True, False]
    assert [has_few_rows(rows, 28) for rows in (559, 560)] == [True, False]
    assert not has_few_rows(10, 5_000)
    assert [has_few_rows(rows, 4_000) for rows in (1_999, 2_000)] == [True, False]
