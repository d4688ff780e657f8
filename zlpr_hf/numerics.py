"""What all losses share: one type, which labels are known, sums of exponentials, reductions."""

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["none", "mean", "sum"]

IGNORE_INDEX = -100
"""Target value of a label that nobody has judged; it counts neither as positive nor as negative."""


def prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def log1p_sum_exp(values: Tensor) -> Tensor:
    """``log(1 + sum(exp(values)))`` over the last axis, for values of any size including -inf.

    The largest value is a constant here, so that autograd forms ``exp(v - max) / sum``. The
    gradient of ``torch.logsumexp``, ``exp(v - result)``, loses a digit for each of the result.
    """
    largest = values.detach().amax(-1, keepdim=True).clamp(min=0, max=torch.finfo(values.dtype).max)
    total = (-largest).exp() + (values - largest).exp().sum(-1, keepdim=True)
    return (largest + total.log()).squeeze(-1)


def log_sum_exp(values: Tensor) -> Tensor:
    """``log(sum(exp(values)))`` over the last axis, -inf for nothing but -inf, never NaN."""
    limit = torch.finfo(values.dtype).max
    largest = values.detach().amax(-1, keepdim=True).clamp(min=-limit, max=limit)
    total = (values - largest).exp().sum(-1, keepdim=True)
    result = largest + total.where(total > 0, 1.0).log()
    return torch.where(total > 0, result, -torch.inf).squeeze(-1)


def reduce(per_example: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return per_example
    if reduction == "mean":
        return per_example.mean()
    if reduction == "sum":
        return per_example.sum()
    raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
