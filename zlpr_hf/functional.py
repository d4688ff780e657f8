"""The mathematics of the ZLPR paper as pure functions of ``(logits, targets)``."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["none", "mean", "sum"]

IGNORE_INDEX = -100
"""Target value of a label that nobody has judged; it counts neither as positive nor as negative."""


def zlpr_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Zero-bounded log-sum-exp and pairwise rank-based loss, for hard and for soft targets.

    One expression covers both: it ranks every positive label above every negative one and both
    against a fixed zero, so that ``logits > 0`` is the decision rule that the loss itself trains.
    Each term is formed in log space, ``exp(log t - s)``, which makes targets of exactly 0 and 1
    drop out without an epsilon and keeps logits of any size finite.

    .. math::
        L(s, t) = \log\Bigl(1 + \sum_i t_i e^{-s_i}\Bigr)
                + \log\Bigl(1 + \sum_i (1 - t_i) e^{s_i}\Bigr)

    The loss is convex in ``s``. For soft targets its minimum lies at ``s = logit(t) / 2``, hence
    :func:`zlpr_probabilities`.

    Args:
        logits: Raw scores of the labels. Half precision is computed in float32; a result in
            float32 or float64 keeps that type. ``-inf`` is allowed for negative labels (a mask).
        targets: Bool, integer or floating values in [0, 1]; ``-100`` or NaN marks an unknown label.
            They are constants: no gradient flows into them.
        reduction: ``none`` for one value an example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: If the shapes differ, ``reduction`` is unknown, or a target is outside [0, 1].

    References:
        Su, Zhu, Murtadha, Pan, Wen, Liu: ZLPR: A Novel Loss for Multi-label Classification, 2022,
        arXiv:2208.02955, the loss for hard labels and its soft form.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0, -3.0]])
        >>> zlpr_loss(logits, torch.tensor([[1, 0, 0]]))
        tensor(0.4759)
    """
    logits, targets, known = _prepare(logits, targets)
    never = logits.new_tensor(-torch.inf)
    # Select before adding: a masked logit of -inf must not meet log(0) = -inf with the other sign.
    pull_up = torch.where(known & (targets > 0), targets.log() - logits, never)
    push_down = torch.where(known & (targets < 1), torch.log1p(-targets) + logits, never)
    return _reduce(_log1p_sum_exp(pull_up) + _log1p_sum_exp(push_down), reduction)


def zlpr_probabilities(logits: Tensor) -> Tensor:
    r"""Probability of each label that the ZLPR loss fits, :math:`\sigma(2 s)`.

    The soft loss has its minimum at ``s = logit(t) / 2``; inverting that gives ``t``. Note that
    ``sigmoid(s)``, which a stock pipeline reports, ranks the same and crosses 0.5 at the same place
    but is not calibrated.

    Args:
        logits: Raw scores of a model trained with ZLPR. Half precision is computed in float32.

    Shape:
        Any; the result has the same.

    Returns:
        Values in [0, 1]; above 0.5 where the logit is above 0, up to rounding.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> zlpr_probabilities(torch.tensor([0.0, 1.0]))
        tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(2 * logits.to(torch.promote_types(logits.dtype, torch.float32)))


def bce_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Binary relevance: one independent logistic loss a label, averaged over the known labels.

    The baseline of the paper's comparison and what transformers computes for
    ``multi_label_classification``. With every label known its ``mean`` equals
    ``torch.nn.functional.binary_cross_entropy_with_logits``.

    .. math::
        L(s, t) = \frac{1}{L} \sum_i t_i \log(1 + e^{-s_i}) + (1 - t_i) \log(1 + e^{s_i})

    Args:
        logits: As in :func:`zlpr_loss`.
        targets: As in :func:`zlpr_loss`.
        reduction: As in :func:`zlpr_loss`.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example of which nothing is known.

    Raises:
        ValueError: As in :func:`zlpr_loss`.

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.

    Example:
        >>> bce_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """
    logits, targets, known = _prepare(logits, targets)
    zero = logits.new_zeros(())
    up = torch.where(known & (targets > 0), targets * F.softplus(-logits), zero)
    down = torch.where(known & (targets < 1), (1 - targets) * F.softplus(logits), zero)
    return _reduce((up + down).sum(-1) / known.sum(-1).clamp(min=1), reduction)


def _prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bring both to one floating type and tell which labels are known; unknown targets become 0."""
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits and targets must have the same shape (..., num_labels), "
            f"got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    targets = targets.detach().to(dtype)
    known = ~(targets.isnan() | (targets == IGNORE_INDEX))
    targets = torch.where(known, targets, targets.new_zeros(()))
    if not torch.compiler.is_compiling() and ((targets < 0) | (targets > 1)).any():
        wrong = targets[(targets < 0) | (targets > 1)][0].item()
        raise ValueError(f"targets must lie in [0, 1] (or be -100 or NaN: unknown), got {wrong:g}")
    return logits.to(dtype), targets, known


def _log1p_sum_exp(values: Tensor) -> Tensor:
    """``log(1 + sum(exp(values)))`` over the last axis, for values of any size including -inf.

    The largest value is a constant here, so that autograd forms ``exp(v - max) / sum``. The
    gradient of ``torch.logsumexp``, ``exp(v - result)``, loses a digit for each of the result.
    """
    largest = values.detach().amax(-1, keepdim=True).clamp(min=0, max=torch.finfo(values.dtype).max)
    total = (-largest).exp() + (values - largest).exp().sum(-1, keepdim=True)
    return (largest + total.log()).squeeze(-1)


def _reduce(per_example: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return per_example
    if reduction == "mean":
        return per_example.mean()
    if reduction == "sum":
        return per_example.sum()
    raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
