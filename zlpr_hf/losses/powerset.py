"""Label powerset: the label sets of the training rows as classes, and the way back to labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace
from zlpr_hf.losses.numerics import IGNORE_INDEX, Reduction, prepare, reduce

MAX_LABEL_SETS = 2_000
"""An output each; beyond this the head outgrows a small encoder and most sets have one example."""


@dataclass(frozen=True)
class LabelSets:
    """The different label sets of some rows, most frequent first.

    Args:
        sets: Ids of the labels in each set, ascending; the empty set is ``()``.
        num_labels: ``L``.

    Example:
        >>> sets = LabelSets.fit(np.array([[1, 0], [1, 1], [1, 1]]))
        >>> sets.sets, sets.count_unseen(np.array([[0, 1], [1, 0]]))
        (((0, 1), (0,)), 1)
    """

    sets: tuple[tuple[int, ...], ...]
    num_labels: int

    @classmethod
    def fit(cls, targets: NDArray[Any]) -> LabelSets:
        """Collect the label sets of training rows.

        Args:
            targets: Training targets; a label is in the set from 0.5 on. Rows with an unknown label
                (NaN or -100) add no set.

        Shape:
            targets: ``(N, L)``.

        Returns:
            The sets.

        Raises:
            InputError: If there are more than thousands of them, or just one.
        """
        targets = np.asarray(targets)
        found = Counter(_sets_of(targets[_known(targets).all(1)]))
        cls.check_count(len(found))
        order = sorted(found, key=lambda members: (-found[members], members))
        return cls(tuple(order), targets.shape[1])

    @staticmethod
    def check_count(count: int) -> None:
        """Refuse a number of label sets that no softmax over them can be meant for.

        Args:
            count: Number of different sets in the training rows.

        Raises:
            InputError: If there are more than thousands of them, or just one.
        """
        if not 2 <= count <= MAX_LABEL_SETS:
            raise InputError(
                f"loss powerset has one output a label set: expected 2 to {MAX_LABEL_SETS:,} "
                f"different sets in the training rows, got {count:,}; use another loss"
            )

    @classmethod
    def from_config(cls, config: Any) -> LabelSets:
        """Read the sets of a checkpoint that was trained with the powerset loss.

        Args:
            config: A ``PretrainedConfig``.

        Returns:
            Its sets.
        """
        stored: Mapping[str, Any] = config.zlpr
        return cls(tuple(tuple(members) for members in stored["label_sets"]), len(stored["labels"]))

    def to_config(self, label_space: LabelSpace) -> dict[str, Any]:
        """A plain mapping for the ``zlpr`` entry of ``config.json``."""
        return {"labels": list(label_space.names), "label_sets": [list(each) for each in self.sets]}

    def output_space(self, label_space: LabelSpace) -> LabelSpace:
        """Names of the model's outputs, such as ``coffee + cocoa``.

        A stock pipeline then answers with the best label set. It cannot answer with the scores of
        labels, since those are differences of maxima over outputs, which no head computes.

        Args:
            label_space: The labels.

        Returns:
            One name a set.
        """
        names = [" + ".join(label_space.names[index] for index in each) for each in self.sets]
        return LabelSpace(tuple(name or "(no label)" for name in names))

    def count_unseen(self, targets: NDArray[Any]) -> int:
        """Number of rows that agree with none of these sets, so that none can be right.

        Args:
            targets: Targets ``(N, L)``; an unknown label agrees with any set.
        """
        targets = np.asarray(targets)
        known, members = _known(targets), self.members().numpy()
        fits = set(self.sets)
        unseen = 0
        for members_of_row, row_known in zip(_sets_of(targets), known, strict=True):
            if row_known.all():
                unseen += members_of_row not in fits
                continue
            row = np.isin(np.arange(self.num_labels), members_of_row)
            unseen += not (members == row)[:, row_known].all(1).any()
        return unseen

    def members(self) -> Tensor:
        """Which labels are in which set, as booleans ``(K, L)``."""
        table = torch.zeros(len(self.sets), self.num_labels, dtype=torch.bool)
        for row, members in zip(table, self.sets, strict=True):
            row[list(members)] = True
        return table


def _known(targets: NDArray[Any]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = ~(np.isnan(targets) | (targets == IGNORE_INDEX))
    return known


def _sets_of(targets: NDArray[Any]) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(row).tolist()) for row in np.asarray(targets) >= 0.5]


def powerset_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""Label powerset: one class a label set seen in training, and a softmax over them.

    Sees every dependence between labels, can say no set it has not seen, and needs as many outputs
    as there are sets. An example whose set is none of them, or is partly unknown, takes the sets
    nearest to what is known of it together, :math:`N(t)`; a soft target counts from 0.5 on.

    .. math::
        L(z, t) = -\log \sum_{S \in N(t)} \frac{e^{z_S}}{\sum_{S'} e^{z_{S'}}}

    Args:
        logits: Raw scores of the label sets.
        targets: As in :func:`zlpr_hf.zlpr_loss`.
        label_sets: Which labels are in which set, as 0 and 1 or as booleans; no two rows alike.
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits: ``(..., K)``. targets: ``(..., L)``. label_sets: ``(K, L)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: If the shapes do not fit, ``reduction`` is unknown, or a target is outside
            [0, 1].

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.
        Tsoumakas, Katakis: Multi-label classification: an overview, 2007.

    Example:
        >>> sets = torch.tensor([[1, 0], [1, 1]])
        >>> powerset_loss(torch.zeros(1, 2), torch.tensor([[1, 1]]), sets)
        tensor(0.6931)
    """
    wanted = (*targets.shape[:-1], len(label_sets))
    if logits.shape != wanted or targets.shape[-1] != label_sets.shape[-1]:
        raise ValueError(
            "logits, targets and label_sets must have the same shape up to (..., K), (..., L) and "
            f"(K, L), got {tuple(logits.shape)}, {tuple(targets.shape)} and "
            f"{tuple(label_sets.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    _, targets, known = prepare(targets.to(dtype), targets)
    members = label_sets.to(dtype)
    present, absent = ((targets >= 0.5) & known).to(dtype), ((targets < 0.5) & known).to(dtype)
    distance = present @ (1 - members).T + absent @ members.T  # counts: exact in floating point
    nearest = distance == distance.amin(-1, keepdim=True)
    log_share = torch.log_softmax(logits.to(dtype), -1)
    return reduce(-torch.where(nearest, log_share, -torch.inf).logsumexp(-1), reduction)


def powerset_label_scores(logits: Tensor, label_sets: Tensor) -> Tensor:
    r"""Scores of labels from scores of label sets: the difference of both max-marginals.

    .. math::
        s_i = \max_{S \ni i} z_S - \max_{S \not\ni i} z_S

    ``s_i > 0`` holds exactly for the labels of the best set, so that zero is the boundary here too.

    Args:
        logits: Raw scores of the label sets.
        label_sets: Which labels are in which set, as booleans.

    Shape:
        logits: ``(..., K)``. label_sets: ``(K, L)``. Result: ``(..., L)``.

    Returns:
        Scores in the type of the logits. Where all sets agree on a label, the missing side counts
        as one below the lowest score.

    Example:
        >>> sets = torch.tensor([[True, False], [True, True]])
        >>> powerset_label_scores(torch.tensor([[2.0, 5.0]]), sets)
        tensor([[4., 3.]])
    """
    lowest = logits.amin(-1) - 1
    scores = []
    for members in label_sets.bool().T:  # label by label: (..., K, L) at once may not fit
        inside, outside = logits[..., members], logits[..., ~members]
        best = inside.amax(-1) if inside.shape[-1] else lowest
        scores.append(best - (outside.amax(-1) if outside.shape[-1] else lowest))
    return torch.stack(scores, -1)
