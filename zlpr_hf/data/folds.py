"""Folds of training rows, in place of a validation split that would be too small."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from numpy.typing import NDArray

from zlpr_hf.data.splits import find_strata, find_units, refuse_no_labels
from zlpr_hf.errors import InputError

FOLDS = 5
FEW_ROWS = 300
"""Fewer rows are cross-fitted by default: a tenth of them is too few to choose thresholds."""
FEW_ROWS_PER_LABEL = 20
"""So are fewer rows per label, which leave a tenth of them two."""
MAX_FEW_ROWS = 2_000
"""More rows are split by default, however many labels they have: training K models takes long."""


MAX_LABELS = 4_096
"""Runs with more labels never hold all logits, and are not cross-fitted by default."""


def has_few_rows(rows: int, num_labels: int) -> bool:
    """Return whether a run is cross-fitted by default."""
    return num_labels <= MAX_LABELS and rows < max(
        FEW_ROWS, min(MAX_FEW_ROWS, FEW_ROWS_PER_LABEL * num_labels)
    )


def assign_folds(
    label_sets: Sequence[Sequence[str]],
    folds: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
) -> NDArray[np.int64]:
    """Return the fold of each row, from 0, so that each fold has its share of each label.

    Args:
        label_sets: The labels of each row.
        folds: Number of folds, at least 2.
        seed: Random seed of the folds.
        groups: Group of each row; rows of a group are in one fold.

    Raises:
        InputError: If there are fewer rows, or groups, than folds, or no row has a label.

    References:
        Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, 2011.

    Example:
        >>> found = assign_folds([["a"], ["b"]] * 10, 5, seed=0)
        >>> np.bincount(found).tolist()
        [4, 4, 4, 4, 4]
    """
    if folds < 2:
        raise InputError(f"folds: expected 0, or 2 or more, got {folds}")
    refuse_no_labels(label_sets)
    unit_of_row, units = find_units(label_sets, groups)
    strata = find_strata(units)
    kind = "rows" if groups is None else "groups"
    if len(strata) < folds:
        raise InputError(f"folds: {len(strata)} {kind} cannot fill {folds} folds; add rows")
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of_unit = np.zeros(len(strata), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(strata)), strata)):
        fold_of_unit[held_out] = fold
    _fill_empty_folds(fold_of_unit, folds)
    return fold_of_unit[unit_of_row]


def _fill_empty_folds(fold_of_unit: NDArray[np.int64], folds: int) -> None:
    """Move units of the largest folds into empty ones, which stratification of few rows leaves."""
    for fold in range(folds):
        sizes = np.bincount(fold_of_unit, minlength=folds)
        if not sizes[fold]:
            fold_of_unit[np.flatnonzero(fold_of_unit == sizes.argmax())[0]] = fold
