"""The losses that ZLPR is compared with, as pure functions of ``(logits, targets)``."""

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.labels import IGNORE_INDEX
from zlpr_hf.losses.numerics import (
    Reduction,
    log1p_sum_exp,
    log_sum_exp,
    prepare,
    reduce,
)


def bce_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: Tensor | float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Binary relevance: one independent logistic loss a label, averaged over the known labels.

    The baseline of the paper's comparison and what transformers computes for
    ``multi_label_classification``. With every label known its ``mean`` equals
    ``torch.nn.functional.binary_cross_entropy_with_logits``. Decomposes over labels; its
    minimum is at the marginal probabilities, whatever the labels have to do with one another.

    .. math::
        L(s, t) = \frac{1}{L} \sum_i w_i t_i \log(1 + e^{-s_i}) + (1 - t_i) \log(1 + e^{s_i})

    Args:
        logits: As in :func:`zlpr_hf.zlpr_loss`.
        targets: As in :func:`zlpr_hf.zlpr_loss`.
        positive_weight: ``w``, one number or one a label, each above 0; the share of negatives
            over that of positives makes both sides weigh the same.
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: As in :func:`zlpr_hf.zlpr_loss`.

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.

    Example:
        >>> bce_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """
    logits, targets, known = prepare(logits, targets)
    above, below = _sides(logits, targets, known)
    up = targets * positive_weight * F.softplus(-above)
    down = (1 - targets) * F.softplus(below)
    return reduce(_mean_over_known(up, down, targets, known), reduction)


def focal_loss(
    logits: Tensor, targets: Tensor, *, gamma: float = 2.0, reduction: Reduction = "mean"
) -> Tensor:
    r"""Binary relevance that turns away from labels which are right already.

    With :math:`p = \sigma(s)`; ``gamma = 0`` is :func:`bce_loss`. The focusing factors are formed
    in log space, :math:`(1 - p)^\gamma = e^{-\gamma \log(1 + e^s)}`: no clamp. Decisions stay
    at zero; probabilities are pulled toward one half.

    .. math::
        L(s, t) = -\frac{1}{L} \sum_i t_i (1 - p_i)^\gamma \log p_i
            + (1 - t_i) p_i^\gamma \log(1 - p_i)

    Args:
        logits: As in :func:`zlpr_hf.zlpr_loss`.
        targets: As in :func:`zlpr_hf.zlpr_loss`.
        gamma: Focusing exponent, 0 or above. The weight alpha of the original is left out: it
            moves the decision rule away from zero.
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: As in :func:`zlpr_hf.zlpr_loss`, or if ``gamma`` is negative.

    References:
        Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, 2017, equation 4.

    Example:
        >>> focal_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.1733)
    """
    if gamma < 0:
        raise ValueError(f"gamma must be 0 or above, got {gamma:g}")
    logits, targets, known = prepare(logits, targets)
    if gamma == 0:  # the factor of a masked logit would be 0 times infinity
        return bce_loss(logits, targets.where(known, IGNORE_INDEX), reduction=reduction)
    above, below = _sides(logits, targets, known)
    up = targets * (-gamma * F.softplus(above)).exp() * F.softplus(-above)
    down = (1 - targets) * (-gamma * F.softplus(-below)).exp() * F.softplus(below)
    return reduce(_mean_over_known(up, down, targets, known), reduction)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    margin: float = 0.05,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric loss (ASL): focal on negatives, which it drops where they are easy enough.

    With :math:`p = \sigma(s)` and the shifted :math:`p_m = \max(p - m, 0)`; the sum runs over
    labels, the mean over examples. :math:`\log(1 - p_m)` is formed as
    :math:`\min(0, \log(e^{\log \sigma(-s)} + m))`, exact without a clamp, and the focusing
    factor takes part in the gradient, as the paper derives it. A negative label costs little
    until its probability is high, so that zero is crossed early: recall above precision.

    .. math::
        L(s, t) = -\sum_i t_i (1 - p_i)^{\gamma_+} \log p_i
            + (1 - t_i) p_{m,i}^{\gamma_-} \log(1 - p_{m,i})

    Args:
        logits: As in :func:`zlpr_hf.zlpr_loss`.
        targets: As in :func:`zlpr_hf.zlpr_loss`.
        gamma_negative: Focusing exponent of negative labels, 0 or at least 1.
        gamma_positive: That of positive ones, 0 or above.
        margin: Probability below which a negative label costs nothing, in [0, 1).
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: As in :func:`zlpr_hf.zlpr_loss`, or if a parameter is out of range.

    References:
        Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor: Asymmetric Loss For
        Multi-Label Classification, 2021, arXiv:2009.14119, section 2.

    Example:
        >>> asymmetric_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.4353)
    """
    if gamma_positive < 0 or not (gamma_negative == 0 or gamma_negative >= 1):
        raise ValueError(
            "gamma_positive must be 0 or above and gamma_negative 0 or at least 1, "
            f"got {gamma_positive:g} and {gamma_negative:g}"
        )
    if not 0 <= margin < 1:
        raise ValueError(f"margin must lie in [0, 1), got {margin:g}")
    logits, targets, known = prepare(logits, targets)
    above, below = _sides(logits, targets, known)
    up = targets * (-gamma_positive * F.softplus(above)).exp() * F.softplus(-above)
    log_margin = logits.new_tensor(margin).log()
    log_rest = torch.logaddexp(F.logsigmoid(-below), log_margin).clamp(max=0)
    down = (targets - 1) * (-torch.expm1(log_rest)) ** gamma_negative * log_rest
    return reduce(_sum_over_known(up, down, targets, known), reduction)


def lsep_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Log-sum-exp pairwise loss: every positive label above every negative one, and no zero.

    The sum over pairs is a product of two sums, so that it costs ``L`` and not ``L`` squared. It is
    :func:`zlpr_hf.zlpr_loss` without the label at zero that separates both sides, hence
    blind to a shift of all logits: decisions need a threshold, fitted on validation rows. Rows with
    only one side cost nothing.

    .. math::
        L(s, t) = \log\Bigl(1 + \sum_i \sum_j (1 - t_i)\, t_j\, e^{s_i - s_j}\Bigr)

    Args:
        logits: As in :func:`zlpr_hf.zlpr_loss`.
        targets: As in :func:`zlpr_hf.zlpr_loss`; of a soft one the pair with itself
            counts too, a constant in the sum.
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss.

    Raises:
        ValueError: As in :func:`zlpr_hf.zlpr_loss`.

    References:
        Li, Song, Luo: Improving Pairwise Ranking for Multi-label Image Classification, 2017,
        arXiv:1704.03135.

    Example:
        >>> lsep_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.6094)
    """
    logits, targets, known = prepare(logits, targets)
    up = torch.where(known & (targets > 0), targets.log() - logits, -torch.inf)
    down = torch.where(known & (targets < 1), torch.log1p(-targets) + logits, -torch.inf)
    pairs = log_sum_exp(up) + log_sum_exp(down)
    return reduce(log1p_sum_exp(pairs.unsqueeze(-1)), reduction)


def bp_mll_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Exponential pairwise loss of BP-MLL, the first rank loss for neural networks.

    With the outputs :math:`c = \tanh s` of the original, which keep the exponentials small and
    starve the gradient of confident logits. The mean over pairs is a product of two means. Blind
    to where zero lies: decisions need a threshold, fitted on validation rows.

    .. math::
        L(s, t) = \frac{\sum_i \sum_j (1 - t_i)\, t_j\, e^{c_i - c_j}}
            {\sum_i (1 - t_i) \sum_j t_j}

    Args:
        logits: As in :func:`zlpr_hf.zlpr_loss`.
        targets: As in :func:`zlpr_hf.zlpr_loss`.
        reduction: As in :func:`zlpr_hf.zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example with only one side, which has no pairs.

    Raises:
        ValueError: As in :func:`zlpr_hf.zlpr_loss`.

    References:
        Zhang, Zhou: Multilabel Neural Networks with Applications to Functional Genomics and Text
        Categorization, 2006.

    Example:
        >>> bp_mll_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.)
    """
    logits, targets, known = prepare(logits, targets)
    outputs = logits.tanh()
    rest = torch.where(known, 1 - targets, 0.0)
    pairs = (targets * (-outputs).exp()).sum(-1) * (rest * outputs.exp()).sum(-1)
    count = targets.sum(-1) * rest.sum(-1)
    return reduce(torch.where(count > 0, pairs / count.where(count > 0, 1.0), 0.0), reduction)


def _sides(logits: Tensor, targets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the positive and of the negative side, 0 elsewhere: select before computing."""
    above = torch.where(targets > 0, logits, 0.0)
    return above, torch.where(known & (targets < 1), logits, 0.0)


def _sum_over_known(up: Tensor, down: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    cells = torch.where(targets > 0, up, 0.0) + torch.where(known & (targets < 1), down, 0.0)
    return cells.sum(-1)


def _mean_over_known(up: Tensor, down: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    return _sum_over_known(up, down, targets, known) / known.sum(-1).clamp(min=1)
