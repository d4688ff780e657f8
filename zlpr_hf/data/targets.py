"""Labels of rows as arrays: dense targets, or padded ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import IGNORE_INDEX


def dense_targets(
    label_ids: Sequence[Sequence[int]], label_values: Sequence[Sequence[float]], num_labels: int
) -> NDArray[np.float32]:
    """Return targets ``(N, L)`` from the ids of the labels that are not 0, and their values.

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
    """Return lists of ids as one array ``(N, K)``, padded with ``-100``; ``K`` is at least 1.

    Example:
        >>> padded_ids([[2, 0], []])
        array([[   2,    0],
               [-100, -100]])
    """
    width = max(map(len, label_ids), default=0)
    positives = np.full((len(label_ids), max(width, 1)), IGNORE_INDEX, dtype=np.int64)
    for row, ids in zip(positives, label_ids, strict=True):
        row[: len(ids)] = ids
    return positives
