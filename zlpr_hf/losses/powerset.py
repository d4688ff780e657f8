"""Label powerset: the label sets of the training rows as classes, and scores of labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.losses.numerics import Reduction, check_tensors, prepare, reduce

Bools = NDArray[np.bool_]


def powerset_loss(
    logits: Tensor, targets: Tensor, label_sets: Tensor | Bools, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""Label powerset: one class per label set seen in training, and a softmax over them.

    Models every dependence between labels, cannot predict a set that it has not seen, and needs one
    output per set. If the set of an example is not among them or is partly unknown, the nearest
    sets count together, :math:`N(t)`; a soft target is present from 0.5 on.

    .. math::
        L(z, t) = -\log \sum_{S \in N(t)} \frac{e^{z_S}}{\sum_{S'} e^{z_{S'}}}

    Args:
        logits: Raw scores of the label sets.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        label_sets: Membership of labels in sets, as 0 and 1 or as booleans; rows must differ.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits: ``(..., K)``. targets: ``(..., L)``. label_sets: ``(K, L)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

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
    check_tensors(logits=logits, targets=targets)
    wanted = (*targets.shape[:-1], len(label_sets))
    if logits.shape != wanted or targets.shape[-1] != label_sets.shape[-1]:
        raise ValueError(
            "logits, targets and label_sets must have the same shape up to (..., K), (..., L) and "
            f"(K, L), got {tuple(logits.shape)}, {tuple(targets.shape)} and "
            f"{tuple(label_sets.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    _, targets, known = prepare(targets.to(dtype), targets)
    members = torch.as_tensor(label_sets, dtype=dtype, device=logits.device)
    present, absent = ((targets >= 0.5) & known).to(dtype), ((targets < 0.5) & known).to(dtype)
    distance = present @ (1 - members).T + absent @ members.T  # counts: exact in floating point
    nearest = distance == distance.amin(-1, keepdim=True)
    log_share = torch.log_softmax(logits.to(dtype), -1)
    return reduce(-torch.where(nearest, log_share, -torch.inf).logsumexp(-1), reduction)


def powerset_label_scores(logits: Tensor, label_sets: Tensor | Bools) -> Tensor:
    r"""Scores of labels from scores of label sets: the difference of two max-marginals.

    .. math::
        s_i = \max_{S \ni i} z_S - \max_{S \not\ni i} z_S

    ``s_i > 0`` holds exactly for the labels of the best set, so the threshold is zero here too.

    Args:
        logits: Raw scores of the label sets.
        label_sets: Membership of labels in sets, as booleans.

    Shape:
        logits: ``(..., K)``. label_sets: ``(K, L)``. Result: ``(..., L)``.

    Returns:
        Scores in the type of the logits. If all sets agree on a label, the missing side counts as
        one below the lowest score.

    Example:
        >>> sets = torch.tensor([[True, False], [True, True]])
        >>> powerset_label_scores(torch.tensor([[2.0, 5.0]]), sets)
        tensor([[4., 3.]])
    """
    sets = torch.as_tensor(label_sets, dtype=torch.bool, device=logits.device)
    lowest = logits.amin(-1) - 1
    scores = []
    for members in sets.T:  # label by label: (..., K, L) at once may not fit
        inside, outside = logits[..., members], logits[..., ~members]
        best = inside.amax(-1) if inside.shape[-1] else lowest
        scores.append(best - (outside.amax(-1) if outside.shape[-1] else lowest))
    return torch.stack(scores, -1)
