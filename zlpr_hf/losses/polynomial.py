"""Logistic losses with changed polynomial coefficients: Poly-1 and the robust asymmetric loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.losses.base import FunctionLoss
from zlpr_hf.losses.binary_relevance import check_asymmetric
from zlpr_hf.losses.numerics import (
    Reduction,
    mean_over_known,
    prepare,
    reduce,
    select_sides,
    sum_over_known,
)


def poly1_loss(
    logits: Tensor, targets: Tensor, *, epsilon: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    r"""Binary relevance with another first coefficient of its Taylor series (PolyLoss, Poly-1).

    The logistic loss of a label is :math:`\sum_j (1 - p_t)^j / j`, where :math:`p_t` is the
    probability of the right answer: :math:`p = \sigma(s)` for a positive label, :math:`1 - p` for a
    negative one. Poly-1 adds ``epsilon`` to the coefficient of :math:`1 - p_t`. ``epsilon = 0`` is
    :func:`zlpr_hf.bce_loss`. Both sides change alike, so that the decision threshold stays at zero:
    a label alone is predicted from a probability of 0.5 on.

    .. math::
        L(s, t) = \frac{1}{L} \sum_i t_i \bigl(-\log p_i + \epsilon (1 - p_i)\bigr)
            + (1 - t_i) \bigl(-\log(1 - p_i) + \epsilon p_i\bigr)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        epsilon: Change of the first coefficient, -1 or above (default: 1, as in the code of the
            paper, which tunes it for each task).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If ``epsilon`` is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov: PolyLoss: A Polynomial Expansion Perspective of
        Classification Loss Functions, 2022, arXiv:2204.12511, section 4.

    Example:
        >>> poly1_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.1931)
    """
    check_poly1(epsilon)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    up = targets * (F.softplus(-above) + epsilon * torch.sigmoid(-above))
    down = (1 - targets) * (F.softplus(below) + epsilon * torch.sigmoid(below))
    return reduce(mean_over_known(up, down, targets, known), reduction)


def robust_asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    margin: float = 0.05,
    lambd: float = 1.5,
    epsilon_1: float = 1.0,
    epsilon_2: float = -2.5,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Robust asymmetric loss (RAL): asymmetric loss with other coefficients and a Hill term.

    With :math:`p = \sigma(s)` and the shifted :math:`q = \min(1 - p + m, 1)`; summed over labels,
    averaged over examples. The positive side is a logistic loss whose first two Taylor coefficients
    are changed, as in the asymmetric polynomial loss. The negative side is that of
    :func:`zlpr_hf.asymmetric_loss` times :math:`(\lambda - p)\, p^2 (\lambda - q)`, which makes
    labels that are likely missing cheaper. This is the form of the authors' code, with the gradient
    of all factors. Negatives cost so little that logits cross zero early: a label alone is
    predicted from a probability of about 0.04 on.

    .. math::
        L(s, t) = \sum_i &\, t_i (1 - p_i)^{\gamma_+} \bigl(-\log p_i - \epsilon_1 (1 - p_i)
            - \tfrac{\epsilon_2}{2} (1 - p_i)^2\bigr) \\
            &- (1 - t_i) (1 - q_i)^{\gamma_-} (\lambda - p_i)\, p_i^2 (\lambda - q_i) \log q_i

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        gamma_negative: Focusing exponent of negative labels, 0 or at least 1 (default: 4).
        gamma_positive: Focusing exponent of positive labels, 0 or above (default: 0).
        margin: Probability below which a negative label costs nothing, in [0, 1) (default: 0.05).
        lambd: ``lambda`` of the Hill term, at least 1 (default: 1.5).
        epsilon_1: Taken from the first Taylor coefficient of positive labels, at most 1
            (default: 1).
        epsilon_2: Taken from twice the second coefficient, at most 1 (default: -2.5).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Park, Park, Kim, Ryu: Robust Asymmetric Loss for Multi-Label Long-Tailed Learning, 2023,
        arXiv:2308.05542, section 3; code of the authors. Huang, Qi, Wang, Lin: Asymmetric
        Polynomial Loss for Multi-Label Classification, 2023, arXiv:2304.05361.

    Example:
        >>> robust_asymmetric_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.0229)
    """
    check_robust_asymmetric(gamma_negative, gamma_positive, margin, lambd, epsilon_1, epsilon_2)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    wrong = torch.sigmoid(-above)
    cost = F.softplus(-above) - epsilon_1 * wrong - epsilon_2 / 2 * wrong**2
    up = targets * (-gamma_positive * F.softplus(above)).exp() * cost
    log_margin = logits.new_tensor(margin).log()
    log_rest = torch.logaddexp(F.logsigmoid(-below), log_margin).clamp(max=0)
    likely = torch.sigmoid(below)
    hill = (lambd - likely) * likely**2 * (lambd - log_rest.exp())
    down = (targets - 1) * (-torch.expm1(log_rest)) ** gamma_negative * hill * log_rest
    return reduce(sum_over_known(up, down, targets, known), reduction)


def check_poly1(epsilon: float) -> None:
    """Refuse a coefficient with which a better answer could cost more."""
    if not -1 <= epsilon < float("inf"):
        raise ValueError(f"epsilon must be -1 or above, got {epsilon:g}")


def check_robust_asymmetric(
    gamma_negative: float,
    gamma_positive: float,
    margin: float,
    lambd: float,
    epsilon_1: float,
    epsilon_2: float,
) -> None:
    """Refuse parameters for which the loss is not finite or negative."""
    check_asymmetric(gamma_negative, gamma_positive, margin)
    if not 1 <= lambd < float("inf"):
        raise ValueError(f"lambd must be at least 1, got {lambd:g}")
    for name, value in (("epsilon_1", epsilon_1), ("epsilon_2", epsilon_2)):
        if not -float("inf") < value <= 1:
            raise ValueError(f"{name} must be at most 1, got {value:g}")


class Poly1Loss(FunctionLoss):
    """Module form of :func:`zlpr_hf.poly1_loss`, which has formula and source.

    Args:
        epsilon: Change of the first coefficient, -1 or above (default: 1).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If ``epsilon`` is out of range.

    Example:
        >>> Poly1Loss(epsilon=2.0)(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.6931)
    """

    function = staticmethod(poly1_loss)
    check = staticmethod(check_poly1)

    def __init__(
        self, *, epsilon: float = 1.0, reduction: Reduction = "mean", **unknown: Any
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(epsilon=epsilon)


class RobustAsymmetricLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.robust_asymmetric_loss`, which has formula and source.

    Args:
        gamma_negative: Focusing exponent of negative labels, 0 or at least 1 (default: 4).
        gamma_positive: Focusing exponent of positive labels, 0 or above (default: 0).
        margin: Probability below which a negative label costs nothing, in [0, 1) (default: 0.05).
        lambd: ``lambda`` of the Hill term, at least 1 (default: 1.5).
        epsilon_1: Taken from the first Taylor coefficient, at most 1 (default: 1).
        epsilon_2: Taken from twice the second coefficient, at most 1 (default: -2.5).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> RobustAsymmetricLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.0229)
    """

    function = staticmethod(robust_asymmetric_loss)
    check = staticmethod(check_robust_asymmetric)

    def __init__(
        self,
        *,
        gamma_negative: float = 4.0,
        gamma_positive: float = 0.0,
        margin: float = 0.05,
        lambd: float = 1.5,
        epsilon_1: float = 1.0,
        epsilon_2: float = -2.5,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(
            gamma_negative=gamma_negative,
            gamma_positive=gamma_positive,
            margin=margin,
            lambd=lambd,
            epsilon_1=epsilon_1,
            epsilon_2=epsilon_2,
        )
