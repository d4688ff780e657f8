"""Types, unknown labels, sums of exponentials and reductions, shared by all losses."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.labels import known_mask

Reduction = Literal["none", "mean", "sum"]


def check_tensors(**values: object) -> None:
    """Refuse lists and NumPy arrays, by the name of the argument."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise TypeError(
                f"{name}: expected a torch tensor, got {kind}; use torch.as_tensor({name})"
            )


def check_not_negative(**values: float) -> None:
    """Refuse numbers below 0 and infinity, by the name of the argument."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be 0 or above, got {value:g}")


def check_shapes(logits: Tensor, targets: Tensor) -> None:
    check_tensors(logits=logits, targets=targets)
    if logits.shape != targets.shape:
        ids = targets.ndim == logits.ndim - 1 and not targets.is_floating_point()
        hint = (
            "; these look like single-label class ids: use "
            "torch.nn.functional.one_hot(targets, num_labels), or torch.nn.CrossEntropyLoss if "
            "every text has exactly one label"
        )
        raise ValueError(
            f"logits and targets must have the same shape (..., num_labels), "
            f"got {tuple(logits.shape)} and {tuple(targets.shape)}{hint * ids}"
        )


def prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both in one floating type, unknown targets as 0, and the mask of known labels."""
    check_shapes(logits, targets)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    targets = targets.detach().to(dtype)
    known: Tensor = known_mask(targets)
    targets = torch.where(known, targets, targets.new_zeros(()))
    if not is_traced(targets) and ((targets < 0) | (targets > 1)).any():
        wrong = targets[(targets < 0) | (targets > 1)][0].item()
        raise ValueError(f"targets must be in [0, 1] (-100 or NaN: unknown), got {wrong:g}")
    return logits.to(dtype), targets, known


def select_sides(logits: Tensor, targets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the positive and of the negative side, 0 elsewhere: select before computing."""
    above = torch.where(targets > 0, logits, 0.0)
    return above, torch.where(known & (targets < 1), logits, 0.0)


def sum_over_known(up: Tensor, down: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Add both sides of the known labels; the sides are as :func:`select_sides` gives them."""
    cells = torch.where(targets > 0, up, 0.0) + torch.where(known & (targets < 1), down, 0.0)
    return cells.sum(-1)


def mean_over_known(up: Tensor, down: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Average both sides over the known labels; 0 without any."""
    return sum_over_known(up, down, targets, known) / known.sum(-1).clamp(min=1)


def focal_cost(logits: Tensor, gamma: float) -> Tensor:
    """``-(1 - p)^gamma log p`` with ``p = sigmoid(logits)``, formed in log space."""
    if gamma == 0:  # the factor of a masked logit would be 0 times infinity
        return F.softplus(-logits)
    return (-gamma * F.softplus(logits)).exp() * F.softplus(-logits)


def is_traced(values: Tensor) -> bool:
    """Return True under a compiler or a transform of ``torch.func``, which hide the values."""
    return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(values)


def log1p_sum_exp(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """``log(1 + sum(weights * exp(values)))`` over the last axis, for values of any size.

    The maximum is a constant for autograd, so the gradient is ``exp(v - max) / sum``. That of
    ``torch.logsumexp``, ``exp(v - result)``, loses a digit for each digit of the result. A value of
    -inf adds nothing; a value with weight 0 must be -inf.
    """
    largest = values.detach().amax(-1, keepdim=True).clamp(min=0, max=torch.finfo(values.dtype).max)
    shares = (values - largest).exp()
    total = (shares if weights is None else weights * shares).sum(-1, keepdim=True)
    return log_of_one_and(total, largest).squeeze(-1)


def log_of_one_and(total: Tensor, largest: Tensor) -> Tensor:
    """``log(1 + total * exp(largest))`` for ``largest >= 0``, exact for a small total too."""
    beside = (-largest).exp()
    return torch.where(largest == 0, total.log1p(), largest + (beside + total).log())


def log_sum_exp(values: Tensor) -> Tensor:
    """``log(sum(exp(values)))`` over the last axis; -inf if all values are, never NaN."""
    limit = torch.finfo(values.dtype).max
    largest = values.detach().amax(-1, keepdim=True).clamp(min=-limit, max=limit)
    total = (values - largest).exp().sum(-1, keepdim=True)
    result = largest + total.where(total > 0, 1.0).log()
    return torch.where(total > 0, result, -torch.inf).squeeze(-1)


def check_reduction(reduction: str) -> None:
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")


def reduce(per_example: Tensor, reduction: Reduction) -> Tensor:
    check_reduction(reduction)
    if reduction == "none":
        return per_example
    return per_example.mean() if reduction == "mean" else per_example.sum()
