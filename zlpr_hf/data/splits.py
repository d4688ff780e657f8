"""Splits that keep the share of every label, and keep groups together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray

from zlpr_hf.errors import InputError


def split_rows(
    label_matrix: NDArray[np.bool_],
    *,
    size: float,
    seed: int,
    groups: Sequence[Hashable] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows in two so that each label keeps its share, and no group is on both sides.

    Args:
        label_matrix: Which row has which label.
        size: Share of the rows on the second side, in (0, 1). With groups, the share of groups.
        seed: Same seed, same split.
        groups: Group of each row (author, document, patient); rows of a group stay together.

    Shape:
        label_matrix: ``(N, L)``. Results: row numbers in rising order.

    Returns:
        The rows that stay and the rows that are split off.

    Raises:
        InputError: If a side would be empty, or no row has a label.

    References:
        Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, 2011.

    Example:
        >>> first, second = split_rows(np.eye(2, dtype=bool).repeat(10, 0), size=0.2, seed=0)
        >>> len(first), len(second)
        (16, 4)
    """
    if not 0 < size < 1:
        raise InputError(f"the share of a split must lie between 0 and 1, got {size:g}")
    if groups is None:
        unit_of_row = np.arange(len(label_matrix))
        units = label_matrix
    else:
        positions = {group: index for index, group in enumerate(dict.fromkeys(groups))}
        unit_of_row = np.array([positions[group] for group in groups])
        units = np.zeros((len(positions), label_matrix.shape[1]), dtype=bool)
        np.logical_or.at(units, unit_of_row, label_matrix)
    kind = "rows" if groups is None else "groups"
    if not units.any():
        raise InputError(
            "no row has a label (a value of 0.5 or more); "
            "see label_column, label_form and label_delimiter"
        )
    if not 0 < round(size * len(units)) < len(units):
        raise InputError(
            f"cannot split a share of {size:g} off {len(units)} {kind}; one side is empty"
        )
    # An extra column for "no label at all" keeps the share of such rows as well.
    strata = np.column_stack([units, ~units.any(axis=1)])
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=size, random_state=seed)
    _, second = next(splitter.split(np.zeros(len(units)), strata.astype(int)))
    chosen = np.zeros(len(units), dtype=bool)
    chosen[second] = True
    # What is split off must be learnable: labels that would be on that side only stay together.
    lonely = units[chosen].any(axis=0) & ~units[~chosen].any(axis=0)
    chosen &= ~units[:, lonely].any(axis=1)
    if not chosen.any() or chosen.all():
        raise InputError(
            f"cannot split a share of {size:g} off {len(units)} {kind} so that each label stays in "
            "training; give the split as a file, or more rows"
        )
    on_second_side = chosen[unit_of_row]
    return np.flatnonzero(~on_second_side), np.flatnonzero(on_second_side)
