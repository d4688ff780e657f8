"""Split rows so that every label keeps its share and groups stay together."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from zlpr_hf.errors import InputError

MAX_STRATIFIED_LABELS = 1000
"""Labels whose share is kept; the time for it grows with rows times labels."""
MAX_MISSED_SHARE = 0.1
"""Share of a split's size by which stratification may miss it."""


def split_rows(
    label_sets: Sequence[Collection[str]],
    *,
    size: float,
    seed: int,
    groups: Sequence[Hashable] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows in two so that each label keeps its share and no group is on both sides.

    Args:
        label_sets: The labels of each row. Only the :data:`MAX_STRATIFIED_LABELS` most frequent
            labels keep their share; every label stays in training.
        size: Share of the rows (with groups: of the groups) on the second side, in (0, 1).
        seed: Random seed of the split.
        groups: Group of each row (author, document, patient); rows of a group stay together.

    Returns:
        Ascending indices of the rows that stay, and of those that are split off.

    Raises:
        InputError: If a side would be empty, or no row has a label.

    References:
        Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, 2011.

    Example:
        >>> first, second = split_rows([["a"], ["b"]] * 10, size=0.2, seed=0)
        >>> len(first), len(second)
        (16, 4)
    """
    check_share(size)
    unit_of_row, units = find_units(label_sets, groups)
    kind = "rows" if groups is None else "groups"
    refuse_no_labels(label_sets)
    count = units.shape[0]
    if round(size * count) == 0 or math.ceil(size * count) == count:
        raise InputError(
            f"cannot split a share of {size:g} off {count} {kind}; one side is empty; "
            "give the split as a file, or more rows"
        )
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=size, random_state=seed)
    _, second = next(splitter.split(np.zeros(count), find_strata(units)))
    chosen = np.zeros(count, dtype=bool)
    chosen[second] = True
    # Every label must be learnable: rows whose labels would only be on the second side stay.
    lonely = (units[chosen].getnnz(axis=0) > 0) & (units[~chosen].getnnz(axis=0) == 0)
    chosen &= units[:, lonely].getnnz(axis=1) == 0
    _adjust_size(chosen, units, round(size * count), seed)
    if not chosen.any() or chosen.all():
        raise InputError(
            f"cannot split a share of {size:g} off {count} {kind} so that each label stays in "
            "training; give the split as a file, or more rows"
        )
    on_second_side = chosen[unit_of_row]
    return np.flatnonzero(~on_second_side), np.flatnonzero(on_second_side)


def find_units(
    label_sets: Sequence[Collection[str]], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.int64], Any]:
    """Return the unit of each row, and which labels ``(U, L)`` each unit has, as a sparse matrix.

    A unit is a group, or a single row.
    """
    unit_of_row = np.arange(len(label_sets))
    sets = label_sets
    if groups is not None:
        positions: dict[Hashable, int] = {}
        unit_of_row = np.array([positions.setdefault(each, len(positions)) for each in groups])
        of_groups: list[set[str]] = [set() for _ in positions]
        for unit, labels in zip(unit_of_row, label_sets, strict=True):
            of_groups[unit].update(labels)
        sets = of_groups
    return unit_of_row, MultiLabelBinarizer(sparse_output=True).fit_transform(sets)


def find_strata(units: Any) -> NDArray[np.int_]:
    """Return a dense matrix of the most frequent labels of units, and of having no label."""
    frequent = np.sort(np.argsort(-units.getnnz(axis=0), kind="stable")[:MAX_STRATIFIED_LABELS])
    return np.column_stack([units[:, frequent].toarray(), units.getnnz(axis=1) == 0]).astype(int)


def refuse_no_labels(label_sets: Sequence[Collection[str]]) -> None:
    """Refuse rows of which none has a label."""
    if not any(map(len, label_sets)):
        raise InputError(
            "no row has a label (a value of 0.5 or more); "
            "see label_column, label_form and label_delimiter"
        )


def check_share(size: float) -> None:
    """Refuse a share of a split that is not between 0 and 1."""
    if not 0 < size < 1:
        raise InputError(f"the share of a split must be between 0 and 1, got {size:g}")


def _adjust_size(chosen: NDArray[np.bool_], units: Any, target: int, seed: int) -> None:
    """Bring the number of chosen units near the target, if stratification missed it by far.

    It does so where labels have a few units each, whose shares round to none or to one.
    """
    order = np.random.default_rng(seed).permutation(len(chosen))
    slack = max(1.0, MAX_MISSED_SHARE * target)
    left = np.asarray(units[~chosen].sum(axis=0)).ravel()
    if chosen.sum() < target - slack:
        for unit in order[~chosen[order]]:
            labels = units[unit].indices
            if chosen.sum() < target and (left[labels] > 1).all():
                chosen[unit] = True
                left[labels] -= 1
    elif chosen.sum() > target + slack:
        chosen[order[chosen[order]][target:]] = False
