"""The ZLPR loss with its gradient in one pass, as fast as torch's binary cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from zlpr_hf.losses.numerics import (
    Reduction,
    check_reduction,
    is_traced,
    log1p_sum_exp,
    log_of_one_and,
    prepare,
)

MAX_DIRECT_EXP = 60.0
"""Largest logit whose ``exp``, and sums of millions of them, are finite and normal in float32."""

MAX_EXP2 = 12.0
"""Largest logit for which ``exp2`` of a rounded product, far faster, equals ``exp`` to 1e-6."""

LOG2_E = 1.4426950408889634

BLOCK_CELLS = 2**19
"""Cells per block: intermediate results stay small and in the cache."""


def fused_zlpr_loss(logits: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    """Return :func:`zlpr_hf.zlpr_loss`, forming value and gradient together.

    Rows are processed in blocks. If all logits of a block are moderate and all targets known, the
    sums use ``exp(s)`` directly, computed once; otherwise they are formed in log space below their
    maxima. Only the gradient is kept for the backward pass. A second derivative uses
    :func:`composed_zlpr_loss`.
    """
    check_reduction(reduction)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    rows = logits.reshape(-1, logits.shape[-1]).to(dtype)
    truth = targets.detach().reshape(rows.shape)
    if reduction == "none":
        values: Tensor = _apply(rows, truth, None)
        return values.reshape(logits.shape[:-1])
    scale = 1.0 if reduction == "sum" else 1.0 / len(rows) if len(rows) else float("nan")
    value: Tensor = _apply(rows, truth, scale)
    return value


def can_be_fused(*tensors: Tensor) -> bool:
    """Return False under forward-mode differentiation, ``torch.func`` or a compiler."""
    return not any(
        is_traced(each)  # a compiler fuses the formula itself
        or unpack_dual(each).tangent is not None  # type: ignore[no-untyped-call]
        for each in tensors
    )


def composed_zlpr_loss(
    logits: Tensor, targets: Tensor, positive_weight: Tensor | float = 1.0
) -> Tensor:
    """Return one value per example, composed of torch functions that autograd differentiates."""
    logits, targets, known = prepare(logits, targets)
    pull_up, push_down = _exponents(logits, targets, known)
    up = log1p_sum_exp(pull_up, targets * positive_weight)
    return up + log1p_sum_exp(push_down, 1 - targets)


def _exponents(logits: Tensor, targets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """``-s`` and ``s``, -inf where the target gives them no weight."""
    # Select before weighting: 0 times the exp of a masked logit of -inf would be NaN.
    pull_up = torch.where(known & (targets > 0), -logits, -torch.inf)
    push_down = torch.where(known & (targets < 1), logits, -torch.inf)
    return pull_up, push_down


class _FusedZLPR(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, scale: float | None) -> Tensor:
        losses, ctx.gradient = _value_and_gradient(logits, targets, scale or 1.0)
        ctx.save_for_backward(logits, targets)
        ctx.scale = scale
        return losses if scale is None else losses.sum() * scale

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        logits, targets = ctx.saved_tensors
        (outer,) = grad_outputs
        if torch.is_grad_enabled():  # a second derivative
            losses = composed_zlpr_loss(logits, targets)
            value = losses if ctx.scale is None else losses.sum() * ctx.scale
            (first,) = torch.autograd.grad(value, logits, outer, create_graph=True)
            return first, None, None
        gradient, ctx.gradient = ctx.gradient, None  # handed over: the caller may change it
        if gradient is None:
            _, gradient = _value_and_gradient(logits, targets, ctx.scale or 1.0)
        if ctx.scale is None:
            return gradient.mul_(outer.unsqueeze(-1)), None, None
        # Scaled already; usually nothing is left to do.
        return (gradient if outer.is_cpu and outer == 1 else gradient.mul_(outer)), None, None


def _value_and_gradient(logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
    size = max(1, BLOCK_CELLS // max(logits.shape[1], 1))
    if size >= len(logits) or not logits.is_cpu:
        return _block(logits, targets, gradient, scale), gradient
    losses = logits.new_empty(len(logits))
    for start in range(0, len(logits), size):
        block = slice(start, start + size)
        losses[block] = _block(logits[block], targets[block], gradient[block], scale)
    return losses, gradient


_apply: Callable[[Tensor, Tensor, float | None], Tensor] = _FusedZLPR.apply


def _block(logits: Tensor, targets: Tensor, gradient: Tensor, scale: float) -> Tensor:
    """Return the losses of some rows; write their gradient, times ``scale``, to ``gradient``."""
    targets = targets.to(logits.dtype)
    largest_size = _largest_size(logits, targets) if logits.is_cpu else None
    if largest_size is not None and largest_size < MAX_DIRECT_EXP:
        # Two buffers for everything: fresh memory costs more than the arithmetic.
        grown = (logits * LOG2_E).exp2_() if largest_size < MAX_EXP2 else logits.exp()
        torch.sub(1.0, targets, out=gradient).mul_(grown)
        pull_up = torch.div(targets, grown, out=grown)
        negative, positive = gradient.sum(-1), pull_up.sum(-1)
        gradient.mul_((scale / (1 + negative)).unsqueeze(-1))
        gradient.addcmul_(pull_up, (-scale / (1 + positive)).unsqueeze(-1))
        return negative.log1p_() + positive.log1p_()
    logits, targets, known = prepare(logits, targets)
    losses = torch.zeros_like(logits[:, 0])
    gradient.zero_()
    exponents = _exponents(logits, targets, known)
    for values, weights, sign in zip(
        exponents, (targets, 1 - targets), (-scale, scale), strict=True
    ):
        largest = values.amax(-1, keepdim=True).clamp_(0, torch.finfo(logits.dtype).max)
        shares = values.sub_(largest).exp_().mul_(weights)
        rest = shares.sum(-1, keepdim=True)
        gradient.add_(shares.div_((-largest).exp() + rest), alpha=sign)
        losses += log_of_one_and(rest, largest).squeeze(-1)
    return losses


def _largest_size(logits: Tensor, targets: Tensor) -> float | None:
    """Largest absolute value of the logits; None if a target is unknown or anything is NaN."""
    if not logits.numel():
        return None
    low, high = map(float, logits.aminmax())
    least, most = map(float, targets.aminmax())
    return max(-low, high) if low <= high and least >= 0 and most <= 1 else None
