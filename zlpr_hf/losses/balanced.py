"""Losses balanced by label frequency, with negative-tolerant regularisation (NTR)."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.labels import known_mask
from zlpr_hf.losses.base import FunctionLoss
from zlpr_hf.losses.numerics import (
    Reduction,
    check_not_negative,
    check_tensors,
    focal_cost,
    mean_over_known,
    prepare,
    reduce,
    select_sides,
)


def distribution_balanced_loss(
    logits: Tensor,
    targets: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.9,
    lambd: float = 2.0,
    kappa: float = 0.05,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Distribution-balanced focal loss (DB): rare labels weigh more, easy negatives less.

    With ``n`` positive texts of each label in training, a cell weighs the more, the rarer its label
    is compared with the positive labels of its text; a text without any has the largest weight. NTR
    shifts the logits by the frequency of the label and scales the side of negatives, whose gradient
    then fades early: rare labels are not pushed down without end. The decision of the papers is the
    sign of the logit; the probability at which it changes depends on the frequency of the label and
    on the other labels of a text. Constant factors of the authors' code are left out.

    .. math::
        L(s, t) &= -\frac{1}{L} \sum_i r_i \Bigl(t_i (1 - q_i)^\gamma \log q_i
            + \tfrac{1}{\lambda} (1 - t_i)\, \bar q_i^\gamma \log(1 - \bar q_i)\Bigr) \\
        q_i &= \sigma(s_i - \nu_i), \quad \bar q_i = \sigma(\lambda (s_i - \nu_i)), \quad
        \nu_i = \kappa \log(N / n_i - 1) \\
        r_i &= \alpha + \sigma\Bigl(\beta \Bigl(\frac{1 / n_i}{\sum_j t_j / n_j} - \mu\Bigr)\Bigr)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        positives: ``n``, number of positive training texts of each label; 0 counts as 1.
        negatives: ``N - n``, number of negative training texts of each label; 0 counts as 1.
        alpha: Least weight, 0 or above (default: 0.1).
        beta: Slope of the weight, 0 or above (default: 10).
        mu: Middle of the weight (default: 0.9).
        lambd: ``lambda``, scale of the negative side, above 0 (default: 2).
        kappa: Scale of the shift, 0 or above (default: 0.05); 0 turns it off.
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. positives, negatives: ``(L,)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Wu, Huang, Liu, Wang, Lin: Distribution-Balanced Loss for Multi-Label Classification in
        Long-Tailed Datasets, 2020 (ECCV), arXiv:2007.09654. Huang, Giledereli, Koksal, Ozgur,
        Ozkirimli: Balancing Methods for Multi-label Text Classification with Long-Tailed Class
        Distribution, 2021 (EMNLP), arXiv:2109.04712, whose defaults for text these are.

    Example:
        >>> positives, negatives = torch.tensor([50, 5]), torch.tensor([50, 95])
        >>> distribution_balanced_loss(
        ...     torch.zeros(1, 2), torch.tensor([[1, 0]]), positives, negatives
        ... )
        tensor(0.0999)
    """
    check_distribution_balanced(alpha, beta, mu, lambd, kappa, gamma)
    logits, targets, known = prepare(logits, targets)
    positives, negatives = _as_counts(positives, negatives, logits)
    rarity = 1 / positives
    repeated = (targets * rarity).sum(-1, keepdim=True)
    largest = torch.finfo(logits.dtype).max  # of a text without a positive label
    share = torch.where(repeated > 0, rarity / repeated.where(repeated > 0, 1.0), largest)
    weight = alpha + torch.sigmoid(beta * (share - mu))
    shifted = logits - kappa * (negatives / positives).log()
    up, down = (weight * side for side in _ntr_sides(shifted, targets, known, lambd, gamma))
    return reduce(mean_over_known(up, down, targets, known), reduction)


def class_balanced_loss(
    logits: Tensor,
    targets: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    beta: float = 0.9,
    lambd: float = 2.0,
    kappa: float = 0.05,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Class-balanced focal loss with negative-tolerant regularisation (CB-NTR).

    The formula of :func:`zlpr_hf.distribution_balanced_loss` with another weight, the inverse of
    the effective number of texts of a label. With ``lambd = 1`` and ``kappa = 0`` it is the
    class-balanced focal loss (CB) without regularisation. The decision of the papers is the sign of
    the logit.

    .. math::
        r_i = \frac{1 - \beta}{1 - \beta^{n_i}}

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        positives: ``n``, number of positive training texts of each label; 0 counts as 1.
        negatives: ``N - n``, number of negative training texts of each label; 0 counts as 1.
        beta: Growth of the effective number, in [0, 1) (default: 0.9); 0 weighs all labels alike.
        lambd: ``lambda``, scale of the negative side, above 0 (default: 2).
        kappa: Scale of the shift, 0 or above (default: 0.05); 0 turns it off.
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. positives, negatives: ``(L,)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples,
        2019, arXiv:1901.05555. Huang et al. 2021, arXiv:2109.04712, for text and with NTR.

    Example:
        >>> positives, negatives = torch.tensor([50, 5]), torch.tensor([50, 95])
        >>> class_balanced_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]), positives, negatives)
        tensor(0.0149)
    """
    check_class_balanced(beta, lambd, kappa, gamma)
    logits, targets, known = prepare(logits, targets)
    positives, negatives = _as_counts(positives, negatives, logits)
    weight = (1 - beta) / (1 - beta**positives)
    shifted = logits - kappa * (negatives / positives).log()
    up, down = (weight * side for side in _ntr_sides(shifted, targets, known, lambd, gamma))
    return reduce(mean_over_known(up, down, targets, known), reduction)


def _ntr_sides(
    logits: Tensor, targets: Tensor, known: Tensor, lambd: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """Both sides of the focal loss of shifted logits, the negative one scaled by ``lambd``."""
    above, below = select_sides(logits, targets, known)
    up = targets * focal_cost(above, gamma)
    return up, (1 - targets) * focal_cost(-lambd * below, gamma) / lambd


def _as_counts(positives: Tensor, negatives: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the counts in the type of the logits, each of them at least 1."""
    check_tensors(positives=positives, negatives=negatives)
    wanted = logits.shape[-1:]
    if positives.shape != wanted or negatives.shape != wanted:
        raise ValueError(
            f"positives and negatives must have one count per label {tuple(wanted)}, got "
            f"{tuple(positives.shape)} and {tuple(negatives.shape)}"
        )
    return positives.to(logits).clamp(min=1), negatives.to(logits).clamp(min=1)


def check_distribution_balanced(
    alpha: float, beta: float, mu: float, lambd: float, kappa: float, gamma: float
) -> None:
    """Refuse parameters for which a weight is negative or the loss is not finite."""
    check_not_negative(alpha=alpha, beta=beta)
    if not -math.inf < mu < math.inf:
        raise ValueError(f"mu must be finite, got {mu:g}")
    _check_ntr(lambd, kappa, gamma)


def check_class_balanced(beta: float, lambd: float, kappa: float, gamma: float) -> None:
    """Refuse parameters for which a weight is negative or the loss is not finite."""
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta:g}")
    _check_ntr(lambd, kappa, gamma)


def _check_ntr(lambd: float, kappa: float, gamma: float) -> None:
    if not 0 < lambd < math.inf:
        raise ValueError(f"lambd must be above 0, got {lambd:g}")
    check_not_negative(kappa=kappa, gamma=gamma)


class _BalancedLoss(FunctionLoss):
    """A loss that knows how many training texts have each label."""

    needs_train_targets = True
    positives: Tensor
    negatives: Tensor

    def __init__(self, positives: Tensor, negatives: Tensor, *, reduction: Reduction) -> None:
        super().__init__(reduction=reduction)
        check_tensors(positives=positives, negatives=negatives)
        self.register_buffer("positives", positives)
        self.register_buffer("negatives", negatives)

    def arguments(self) -> dict[str, Any]:
        return {"positives": self.positives, "negatives": self.negatives, **super().arguments()}

    @classmethod
    def fit(
        cls, targets: NDArray[Any], *, reduction: Reduction = "mean", **loss_kwargs: Any
    ) -> Self:
        """Count the known positive and negative targets of each label."""
        known = known_mask(targets)
        positives = ((targets >= 0.5) & known).sum(0)
        counts = (torch.from_numpy(count) for count in (positives, known.sum(0) - positives))
        return cls(*counts, reduction=reduction, **loss_kwargs)


class DistributionBalancedLoss(_BalancedLoss):
    """Module form of :func:`zlpr_hf.distribution_balanced_loss`, which has formula and source.

    Args:
        positives: Positive training texts of each label; ``fit`` counts them.
        negatives: Negative training texts of each label; ``fit`` counts them.
        alpha: Least weight, 0 or above (default: 0.1).
        beta: Slope of the weight, 0 or above (default: 10).
        mu: Middle of the weight (default: 0.9).
        lambd: ``lambda``, scale of the negative side, above 0 (default: 2).
        kappa: Scale of the shift, 0 or above (default: 0.05).
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        positives, negatives: ``(L,)``. logits, targets: ``(..., L)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> loss = DistributionBalancedLoss(torch.tensor([50, 5]), torch.tensor([50, 95]))
        >>> loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.0999)
    """

    function = staticmethod(distribution_balanced_loss)
    check = staticmethod(check_distribution_balanced)

    def __init__(
        self,
        positives: Tensor,
        negatives: Tensor,
        *,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.9,
        lambd: float = 2.0,
        kappa: float = 0.05,
        gamma: float = 2.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(positives, negatives, reduction=reduction)
        self.keep(alpha=alpha, beta=beta, mu=mu, lambd=lambd, kappa=kappa, gamma=gamma)


class ClassBalancedLoss(_BalancedLoss):
    """Module form of :func:`zlpr_hf.class_balanced_loss`, which has formula and source.

    Args:
        positives: Positive training texts of each label; ``fit`` counts them.
        negatives: Negative training texts of each label; ``fit`` counts them.
        beta: How fast the effective number of texts grows, in [0, 1) (default: 0.9).
        lambd: ``lambda``, scale of the negative side, above 0 (default: 2).
        kappa: Scale of the shift, 0 or above (default: 0.05).
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        positives, negatives: ``(L,)``. logits, targets: ``(..., L)``. Result: ``(...)`` for
        ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> loss = ClassBalancedLoss(torch.tensor([50, 5]), torch.tensor([50, 95]))
        >>> loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.0149)
    """

    function = staticmethod(class_balanced_loss)
    check = staticmethod(check_class_balanced)

    def __init__(
        self,
        positives: Tensor,
        negatives: Tensor,
        *,
        beta: float = 0.9,
        lambd: float = 2.0,
        kappa: float = 0.05,
        gamma: float = 2.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(positives, negatives, reduction=reduction)
        self.keep(beta=beta, lambd=lambd, kappa=kappa, gamma=gamma)
