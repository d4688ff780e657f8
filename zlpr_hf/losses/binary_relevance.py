"""Binary relevance: one logistic loss per label, plain, focal and asymmetric."""

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.losses.numerics import (
    Reduction,
    check_not_negative,
    focal_cost,
    mean_over_known,
    prepare,
    reduce,
    select_sides,
    sum_over_known,
)


def bce_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: Tensor | float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Binary relevance: independent logistic losses, averaged over the known labels.

    The baseline of the ZLPR paper, and the loss that transformers uses for
    ``multi_label_classification``. If every label is known, its ``mean`` equals
    ``torch.nn.functional.binary_cross_entropy_with_logits``. Decomposes over labels: its minimum is
    at the marginal probabilities, however the labels depend on each other.

    .. math::
        L(s, t) = \frac{1}{L} \sum_i w_i t_i \log(1 + e^{-s_i}) + (1 - t_i) \log(1 + e^{s_i})

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        positive_weight: ``w``, a single number or one per label, above 0 (default: 1). The ratio of
            negatives to positives gives both sides the same weight.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If the shapes differ, ``reduction`` is unknown, or a target is outside [0, 1].

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.

    Example:
        >>> bce_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    up = targets * positive_weight * F.softplus(-above)
    down = (1 - targets) * F.softplus(below)
    return reduce(mean_over_known(up, down, targets, known), reduction)


def focal_loss(
    logits: Tensor, targets: Tensor, *, gamma: float = 2.0, reduction: Reduction = "mean"
) -> Tensor:
    r"""Binary relevance that gives less weight to labels that are already right.

    With :math:`p = \sigma(s)`; ``gamma = 0`` is :func:`bce_loss`. The focusing factors are formed
    in log space, :math:`(1 - p)^\gamma = e^{-\gamma \log(1 + e^s)}`, without a clamp. The decision
    threshold stays at zero; probabilities move toward one half.

    .. math::
        L(s, t) = -\frac{1}{L} \sum_i t_i (1 - p_i)^\gamma \log p_i
            + (1 - t_i) p_i^\gamma \log(1 - p_i)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        gamma: Focusing exponent, 0 or above (default: 2). The weight alpha of the paper is left
            out, because it moves the decision threshold away from zero.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If ``gamma`` is negative, the shapes differ, ``reduction`` is unknown, or a
            target is outside [0, 1].

    References:
        Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, 2017, equation 4.

    Example:
        >>> focal_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.1733)
    """
    check_not_negative(gamma=gamma)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    up = targets * focal_cost(above, gamma)
    down = (1 - targets) * focal_cost(-below, gamma)
    return reduce(mean_over_known(up, down, targets, known), reduction)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    margin: float = 0.05,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric loss (ASL): focal loss on negatives, which drops the easy ones.

    With :math:`p = \sigma(s)` and the shifted :math:`p_m = \max(p - m, 0)`; summed over labels,
    averaged over examples. :math:`\log(1 - p_m)` is formed as
    :math:`\min(0, \log(e^{\log \sigma(-s)} + m))`, exact without a clamp, and the focusing factor
    contributes to the gradient, as in the paper. A negative label costs little until its
    probability is high, so logits cross zero early: recall is higher than precision.

    .. math::
        L(s, t) = -\sum_i t_i (1 - p_i)^{\gamma_+} \log p_i
            + (1 - t_i) p_{m,i}^{\gamma_-} \log(1 - p_{m,i})

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        gamma_negative: Focusing exponent of negative labels, 0 or at least 1 (default: 4).
        gamma_positive: Focusing exponent of positive labels, 0 or above (default: 0).
        margin: Probability below which a negative label costs nothing, in [0, 1) (default: 0.05).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor: Asymmetric Loss For
        Multi-Label Classification, 2021, arXiv:2009.14119, section 2.

    Example:
        >>> asymmetric_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.4353)
    """
    check_asymmetric(gamma_negative, gamma_positive, margin)
    logits, targets, known = prepare(logits, targets)
    above, below = select_sides(logits, targets, known)
    up = targets * focal_cost(above, gamma_positive)
    log_margin = logits.new_tensor(margin).log()
    log_rest = torch.logaddexp(F.logsigmoid(-below), log_margin).clamp(max=0)
    down = (targets - 1) * (-torch.expm1(log_rest)) ** gamma_negative * log_rest
    return reduce(sum_over_known(up, down, targets, known), reduction)


def check_asymmetric(gamma_negative: float, gamma_positive: float, margin: float) -> None:
    """Refuse exponents and margins for which the loss or its gradient is not finite."""
    if not (gamma_negative == 0 or 1 <= gamma_negative < float("inf")):
        raise ValueError(f"gamma_negative must be 0 or at least 1, got {gamma_negative:g}")
    check_not_negative(gamma_positive=gamma_positive)
    if not 0 <= margin < 1:
        raise ValueError(f"margin must be in [0, 1), got {margin:g}")
