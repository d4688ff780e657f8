"""Losses for training data in which positive labels are missing: Hill and SPLC."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zlpr_hf.losses.base import FunctionLoss
from zlpr_hf.losses.numerics import (
    Reduction,
    check_not_negative,
    focal_cost,
    prepare,
    reduce,
    select_sides,
    sum_over_known,
)


def hill_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    lambd: float = 1.5,
    margin: float = 1.0,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Hill loss: negatives that the model is sure about cost less, for they may be missing labels.

    With :math:`p = \sigma(s)` and :math:`p_m = \sigma(s - m)`; summed over labels, averaged over
    examples. The negative side is a squared error weighted by :math:`\lambda - p`: its gradient
    falls again from :math:`p = 1/2` on (with the default ``lambd``) and is zero at 1. The positive
    side is a focal loss with a margin. Logits cross zero early: a label alone is predicted from a
    probability of about 0.20 on.

    .. math::
        L(s, t) = \sum_i -t_i (1 - p_{m,i})^\gamma \log p_{m,i}
            + (1 - t_i) (\lambda - p_i)\, p_i^2

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        lambd: ``lambda``, at least 1 (default: 1.5). The loss of a negative label falls again
            before ``p = 1`` if it is below 1.5.
        margin: ``m``, taken from the logits of positive labels, 0 or above (default: 1).
        gamma: Focusing exponent of positive labels, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Zhang, Cheng, Huang, Wen, Feng, Li, Guo: Simple and Robust Loss Design for Multi-Label
        Learning with Missing Labels, 2021, arXiv:2112.07368, section 3.

    Example:
        >>> hill_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.9037)
    """
    check_hill(lambd, margin, gamma)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    likely = torch.sigmoid(below)
    down = (1 - targets) * (lambd - likely) * likely**2
    up = targets * focal_cost(above - margin, gamma)
    return reduce(sum_over_known(up, down, targets, known), reduction)


def splc_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    tau: float = 0.6,
    margin: float = 1.0,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Self-paced loss correction (SPLC): negatives with a high score are trained as positives.

    With :math:`p = \sigma(s)` and :math:`p_m = \sigma(s - m)`; summed over labels, averaged over
    examples. The loss is a focal loss with a margin on labels that are given as positive; a
    negative label with :math:`p > \tau` changes sides, without a margin, as in the authors' code.
    The correction has no other evidence than the model's own score: the loss is also low where all
    labels are predicted, and training must start elsewhere. A label alone is predicted from a
    probability of about 0.28 on.

    .. math::
        L(s, t) = -\sum_i &\, t_i (1 - p_{m,i})^\gamma \log p_{m,i} \\
            &+ (1 - t_i) \begin{cases} p_i^\gamma \log(1 - p_i) & p_i \le \tau \\
            (1 - p_i)^\gamma \log p_i & p_i > \tau \end{cases}

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        tau: Probability above which a negative label is trained as a positive one, above 0 up to 1
            (default: 0.6); 1 corrects nothing. The paper corrects after the first epoch only; see
            :class:`zlpr_hf.SPLCLoss`.
        margin: ``m``, taken from the logits of positive labels, 0 or above (default: 1).
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Zhang, Cheng, Huang, Wen, Feng, Li, Guo: Simple and Robust Loss Design for Multi-Label
        Learning with Missing Labels, 2021, arXiv:2112.07368, section 4.

    Example:
        >>> splc_loss(torch.tensor([[3.0, 3.0, -3.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.0020)
    """
    check_splc(tau, margin, gamma)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    boundary = math.inf if tau == 1 else math.log(tau / (1 - tau))
    missing = below.detach() > boundary
    corrected = focal_cost(below.where(missing, 0.0), gamma)
    kept = focal_cost(-below.where(~missing, 0.0), gamma)
    up = targets * focal_cost(above - margin, gamma)
    down = (1 - targets) * torch.where(missing, corrected, kept)
    return reduce(sum_over_known(up, down, targets, known), reduction)


def check_hill(lambd: float, margin: float, gamma: float) -> None:
    """Refuse parameters for which the loss is negative or not finite."""
    if not 1 <= lambd < math.inf:
        raise ValueError(f"lambd must be at least 1, got {lambd:g}")
    check_not_negative(margin=margin, gamma=gamma)


def check_splc(tau: float, margin: float, gamma: float, change_epoch: float = 0.0) -> None:
    """Refuse a threshold that is no probability, and negative values of the others."""
    if not 0 < tau <= 1:
        raise ValueError(f"tau must be above 0 up to 1, got {tau:g}")
    check_not_negative(margin=margin, gamma=gamma, change_epoch=change_epoch)


class HillLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.hill_loss`, which has formula and source.

    Args:
        lambd: ``lambda``, at least 1 (default: 1.5).
        margin: Taken from the logits of positive labels, 0 or above (default: 1).
        gamma: Focusing exponent of positive labels, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> HillLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.9037)
    """

    function = staticmethod(hill_loss)
    check = staticmethod(check_hill)

    def __init__(
        self,
        *,
        lambd: float = 1.5,
        margin: float = 1.0,
        gamma: float = 2.0,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(lambd=lambd, margin=margin, gamma=gamma)


class SPLCLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.splc_loss`, which corrects nothing before ``change_epoch``.

    :class:`zlpr_hf.ZLPRTrainer` sets the attribute ``epoch``, also after a restart. In a loop of
    your own set it before each epoch; without it, the module corrects from the first step on.

    Args:
        tau: Probability above which a negative label is trained as a positive one, above 0 up to 1
            (default: 0.6).
        margin: Taken from the logits of positive labels, 0 or above (default: 1).
        gamma: Focusing exponent, 0 or above (default: 2).
        change_epoch: Epochs without a correction, 0 or above (default: 1); may be a fraction.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> loss, logits, targets = SPLCLoss(), torch.tensor([[3.0]]), torch.tensor([[0]])
        >>> loss.epoch = 0
        >>> before = loss(logits, targets)
        >>> loss.epoch = 1
        >>> before, loss(logits, targets)
        (tensor(2.7663), tensor(0.0001))
    """

    function = staticmethod(splc_loss)
    check = staticmethod(check_splc)

    def __init__(
        self,
        *,
        tau: float = 0.6,
        margin: float = 1.0,
        gamma: float = 2.0,
        change_epoch: float = 1.0,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(tau=tau, margin=margin, gamma=gamma, change_epoch=change_epoch)

    def arguments(self) -> dict[str, Any]:
        """Return the hyper-parameters of the epoch; ``tau`` is 1 before ``change_epoch``."""
        given = super().arguments()
        change_epoch = given.pop("change_epoch")
        return given if self.epoch >= change_epoch else {**given, "tau": 1.0}
