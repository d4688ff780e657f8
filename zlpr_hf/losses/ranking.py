"""Pairwise ranking losses; their logits need a tuned decision threshold."""

import torch
from torch import Tensor

from zlpr_hf.losses.numerics import Reduction, log1p_sum_exp, log_sum_exp, prepare, reduce


def lsep_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Log-sum-exp pairwise loss: every positive label above every negative one.

    The sum over pairs is a product of two sums, so the cost grows with ``L`` and not with its
    square. This is :func:`zlpr_hf.zlpr_loss` without the label at zero between both sides, hence
    blind to a shift of all logits: tune a threshold on validation data. Rows with only one side
    cost nothing.

    .. math::
        L(s, t) = \log\Bigl(1 + \sum_i \sum_j (1 - t_i)\, t_j\, e^{s_i - s_j}\Bigr)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label. A soft target also counts
            as a pair with itself, which adds a constant to the sum.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss.

    Raises:
        ValueError: If the shapes differ, ``reduction`` is unknown, or a target is outside [0, 1].

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
    r"""Exponential pairwise loss of BP-MLL, the first ranking loss for neural networks.

    As in the paper, the outputs are :math:`c = \tanh s`: the exponentials stay small, and confident
    logits get almost no gradient. The mean over pairs is a product of two means. The loss does not
    place a threshold: tune one on validation data.

    .. math::
        L(s, t) = \frac{\sum_i \sum_j (1 - t_i)\, t_j\, e^{c_i - c_j}}
            {\sum_i (1 - t_i) \sum_j t_j}

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example with only one side, which has no pairs.

    Raises:
        ValueError: If the shapes differ, ``reduction`` is unknown, or a target is outside [0, 1].

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
