"""Losses that compare the texts of a batch: the two-way loss and sigmoidF1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zlpr_hf.losses.base import FunctionLoss
from zlpr_hf.losses.numerics import Reduction, log1p_sum_exp, log_sum_exp, prepare, reduce


def two_way_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature_positive: float = 4.0,
    temperature_negative: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Two-way loss: positives above negatives in each text, and in each label over the batch.

    The first mean is over the texts that have a positive label, the second one over the labels that
    have a positive text in the batch. A high temperature of the positives spreads their gradient.
    Both ways compare logits with each other and never with zero: the loss is blind to a shift of
    all logits, so tune a threshold on validation data.

    .. math::
        L = \underset{b}{\mathrm{mean}}\; \ell(s_{b \cdot}, t_{b \cdot})
            + \underset{i}{\mathrm{mean}}\; \ell(s_{\cdot i}, t_{\cdot i}), \quad
        \ell(s, t) = \log\Bigl(1 + \bigl(\textstyle\sum_j (1 - t_j) e^{s_j / T_-}\bigr)^{T_-}
            \bigl(\sum_j t_j e^{-s_j / T_+}\bigr)^{T_+}\Bigr)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`. All leading dimensions are one batch.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label. A soft target counts on
            both sides with its weight.
        temperature_positive: ``T+``, above 0 (default: 4).
        temperature_negative: ``T-``, above 0 (default: 1).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``. A value per
            example is its share of the first mean, times the size of the batch, plus the second
            mean.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss. Its ``mean`` is that of the paper.

    Raises:
        ValueError: If a temperature is out of range, the shapes differ, ``reduction`` is unknown,
            or a target is outside [0, 1].

    References:
        Kobayashi: Two-Way Multi-Label Loss, 2023 (CVPR), section 3.

    Example:
        >>> two_way_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(3.4965)
    """
    check_two_way(temperature_positive, temperature_negative)
    logits, targets, known = prepare(logits, targets)
    width = logits.shape[-1]
    up = torch.where(
        known & (targets > 0), targets.log() - logits / temperature_positive, -torch.inf
    )
    down = torch.where(
        known & (targets < 1), torch.log1p(-targets) + logits / temperature_negative, -torch.inf
    )
    up, down = up.reshape(-1, width), down.reshape(-1, width)

    def ways(up: Tensor, down: Tensor) -> Tensor:
        """Compare along the last axis; average over the others that have a positive, by share."""
        pairs = temperature_positive * log_sum_exp(up) + temperature_negative * log_sum_exp(down)
        counts = (up > -torch.inf).any(-1)
        values = log1p_sum_exp(pairs.unsqueeze(-1)).where(counts, 0.0)
        return values / counts.sum().clamp(min=1)

    per_example = len(up) * ways(up, down) + ways(up.T, down.T).sum()
    return reduce(per_example.reshape(logits.shape[:-1]), reduction)


def sigmoid_f1_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    beta: float = 1.0,
    eta: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""sigmoidF1: one minus the macro-F1 of the batch, with decisions made smooth.

    A decision is :math:`S = \sigma(\beta (s + \eta))`. It is best to push a logit up if the label
    is more probable than half of its F1, the decision that maximises F1; the sign of the logit says
    so, at ``-eta``. A label without a positive text in the batch costs 1 and gets no gradient: take
    batches in which rare labels occur.

    .. math::
        L = \underset{i}{\mathrm{mean}} \left(1 - \frac{2 \sum_b S_{bi} t_{bi}}
            {\sum_b S_{bi} + \sum_b t_{bi}}\right)

    Args:
        logits: Raw scores; see :func:`zlpr_hf.zlpr_loss`. All leading dimensions are one batch.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label.
        beta: Slope of the decision, above 0 (default: 1). The paper tunes it.
        eta: Added to the logits (default: 0). The paper tunes it; the bias of a head learns it.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``. The value is
            that of the batch, for each of its examples.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss, the mean over labels with a known target in the batch; 0 if there is none.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Benedict, Koops, Odijk, de Rijke: sigmoidF1: A Smooth F1 Score Surrogate Loss for Multilabel
        Classification, 2021, arXiv:2108.10566, section 4.

    Example:
        >>> sigmoid_f1_loss(torch.zeros(2, 2), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.5000)
    """
    check_sigmoid_f1(beta, eta)
    logits, targets, known = prepare(logits, targets)
    width = logits.shape[-1]
    decided = torch.sigmoid(beta * (torch.where(known, logits, 0.0) + eta)) * known
    decided, truth = decided.reshape(-1, width), targets.reshape(-1, width)
    total = decided.sum(0) + truth.sum(0)
    wrong = (decided * (1 - truth) + truth * (1 - decided)).sum(0)
    cost = torch.where(total > 0, wrong / total.where(total > 0, 1.0), 1.0)
    counted = known.reshape(-1, width).any(0)
    cost = cost.where(counted, 0.0).sum() / counted.sum().clamp(min=1)
    return reduce(cost.expand(logits.shape[:-1]), reduction)


def check_two_way(temperature_positive: float, temperature_negative: float) -> None:
    """Refuse a temperature that is not a positive number."""
    for name, value in (
        ("temperature_positive", temperature_positive),
        ("temperature_negative", temperature_negative),
    ):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be above 0, got {value:g}")


def check_sigmoid_f1(beta: float, eta: float) -> None:
    """Refuse a slope that is not positive and a shift that is not finite."""
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be above 0, got {beta:g}")
    if not -float("inf") < eta < float("inf"):
        raise ValueError(f"eta must be finite, got {eta:g}")


class TwoWayLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.two_way_loss`, which has formula and source.

    Its decisions need a tuned threshold.

    Args:
        temperature_positive: ``T+``, above 0 (default: 4).
        temperature_negative: ``T-``, above 0 (default: 1).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a temperature is out of range.

    Example:
        >>> TwoWayLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(3.4965)
    """

    function = staticmethod(two_way_loss)
    check = staticmethod(check_two_way)
    decides_at_zero = False
    couples_rows = True

    def __init__(
        self,
        *,
        temperature_positive: float = 4.0,
        temperature_negative: float = 1.0,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(
            temperature_positive=temperature_positive, temperature_negative=temperature_negative
        )


class SigmoidF1Loss(FunctionLoss):
    """Module form of :func:`zlpr_hf.sigmoid_f1_loss`, which has formula and source.

    Args:
        beta: Slope of the decision, above 0 (default: 1).
        eta: Added to the logits (default: 0).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> SigmoidF1Loss()(torch.zeros(2, 2), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.5000)
    """

    function = staticmethod(sigmoid_f1_loss)
    check = staticmethod(check_sigmoid_f1)
    couples_rows = True

    def __init__(
        self,
        *,
        beta: float = 1.0,
        eta: float = 0.0,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(beta=beta, eta=eta)
