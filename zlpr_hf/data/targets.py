"""Labels of rows as arrays: dense targets, or ids that are filled up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def dense_targets(
    label_ids: Sequence[Sequence[int]], label_values: Sequence[Sequence[float]], num_labels: int
) -> NDArray[np.float32]:
    """Spread ids and values into rows of ``num_labels`` targets.

    Args:
        label_ids: Ids of the labels that are not 0, a row.
        label_values: Their values.
        num_labels: ``L``.

    Shape:
        Result: ``(N, L)``.

    Returns:
        Targets in float32.

    Example:
        >>> dense_targets([[2], []], [[1.0], []], 3)
        array([[0., 0., 1.],
               [0., 0., 0.]], dtype=float32)
    """
    targets = np.zeros((len(label_ids), num_labels), dtype=np.float32)
    for row, ids, values in zip(targets, label_ids, label_values, strict=True):
        row[list(ids)] = values
    return targets


def padded_ids(label_ids: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Lists of ids as one array.

    Args:
        label_ids: Ids of the labels of each row.

    Shape:
        Result: ``(N, K)`` with the ``K`` of the longest row, at least 1.

    Returns:
        Ids, filled up with ``-100``.

    Example:
        >>> padded_ids([[2, 0], []])
        array([[   2,    0],
               [-100, -100]])
    """
    width = max(map(len, label_ids), default=0)
    positives = np.full((len(label_ids), max(width, 1)), -100, dtype=np.int64)
    for row, ids in zip(positives, label_ids, strict=True):
        row[: len(ids)] = ids
    return positives
