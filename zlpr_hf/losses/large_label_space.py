"""ZLPR for very many labels: positives as ids, and the head in chunks that are not kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.labels import IGNORE_INDEX
from zlpr_hf.losses.numerics import (
    Reduction,
    check_reduction,
    check_tensors,
    log_of_one_and,
    reduce,
)

CHUNK_SIZE = 8192
"""Labels per chunk; for 64 texts their logits take 2 MiB."""
NOT_IDS = (torch.bool, torch.complex64, torch.complex128)


def zlpr_loss_from_indices(
    logits: Tensor, positives: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""ZLPR with the positive labels given by their ids, so that no dense targets are needed.

    The same value and gradient as :func:`zlpr_hf.zlpr_loss` on the multi-hot form.

    .. math::
        L(s, P) = \log\Bigl(1 + \sum_{i \in P} e^{-s_i}\Bigr)
                + \log\Bigl(1 + \sum_{j \notin P} e^{s_j}\Bigr)

    Args:
        logits: Raw scores of all labels.
        positives: Ids of the positive labels, in any order, padded with ``-100``. A duplicate id
            counts once. All other labels are negative, none is unknown.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits: ``(B, L)``. positives: ``(B, K)``. Result: ``(B,)`` for ``none``, else a scalar.

    Returns:
        The loss. Its gradient is formed in the forward pass; there is no second derivative.

    Raises:
        ValueError: If the shapes do not fit, ``positives`` is multi-hot or not of whole numbers, an
            id is out of range, or ``reduction`` is unknown.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> zlpr_loss_from_indices(torch.tensor([[2.0, -1.0, -3.0]]), torch.tensor([[0, -100]]))
        tensor(0.4759)
    """
    check_reduction(reduction)
    check_tensors(logits=logits, positives=positives)
    rows, ids = _entries(positives, len(logits), logits.shape[-1])
    values = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return reduce(_FromIndices.apply(values, rows, ids), reduction)  # type: ignore[no-untyped-call]


def linear_zlpr_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    positives: Tensor,
    *,
    chunk_size: int = CHUNK_SIZE,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""ZLPR of a linear head, :math:`s = W h + b`, without holding all logits at once.

    Processes the labels in chunks: the forward pass keeps a running maximum and a running sum of
    exponentials, the backward pass computes the logits of each chunk again. Memory beyond weight
    and gradient grows with the chunk, not with the number of labels, for one more matrix product.

    Args:
        hidden: Features of the texts; products are computed in their type, sums in float32.
        weight: Weight of the head, one row per label.
        bias: Bias of the head.
        positives: Ids of the positive labels, padded with ``-100``.
        chunk_size: Labels per chunk, 1 or more (default: 8192).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        hidden: ``(B, H)``. weight: ``(L, H)``. bias: ``(L,)``. positives: ``(B, K)``. Result:
        ``(B,)`` for ``none``, else a scalar.

    Returns:
        The loss, in float32 at least; there is no second derivative.

    Raises:
        ValueError: If the shapes do not fit, ``positives`` is multi-hot or not of whole numbers, an
            id is out of range, ``chunk_size`` is below 1, or ``reduction`` is unknown.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.
        Milakov, Gimelshein: Online normalizer calculation for softmax, 2018.

    Example:
        >>> head, positives = torch.nn.Linear(4, 1000), torch.tensor([[3, 5], [7, -100]])
        >>> linear_zlpr_loss(torch.zeros(2, 4), head.weight, head.bias, positives).shape
        torch.Size([])
    """
    check_reduction(reduction)
    check_tensors(hidden=hidden, weight=weight, bias=bias, positives=positives)
    if hidden.ndim != 2 or weight.shape != (len(bias), hidden.shape[-1]):
        raise ValueError(
            "expected hidden (B, H), weight (L, H) and bias (L,), "
            f"got {tuple(hidden.shape)}, {tuple(weight.shape)} and {tuple(bias.shape)}"
        )
    if chunk_size < 1:
        raise ValueError(f"chunk_size: expected 1 or more, got {chunk_size}")
    rows, ids = _entries(positives, len(hidden), len(weight))
    # Autocast would cast the whole weight; each chunk is cast to the type of the features instead.
    with torch.autocast(hidden.device.type, enabled=False):
        losses: Tensor = _LinearZLPR.apply(  # type: ignore[no-untyped-call]
            hidden, weight, bias, rows, ids, chunk_size
        )
    return reduce(losses, reduction)


@torch.no_grad()
def linear_top_k(
    hidden: Tensor, weight: Tensor, bias: Tensor, k: int, *, chunk_size: int = CHUNK_SIZE
) -> tuple[Tensor, Tensor]:
    """Find the best labels of a linear head, in chunks; those above zero are predicted.

    Args:
        hidden: Features of the texts.
        weight: Weight of the head, one row per label.
        bias: Bias of the head.
        k: Number of labels, 1 to ``L``.
        chunk_size: Labels per chunk, 1 or more (default: 8192).

    Shape:
        hidden: ``(B, H)``. weight: ``(L, H)``. bias: ``(L,)``. Results: ``(B, k)``.

    Returns:
        Logits, largest first, and the ids of their labels.

    Raises:
        ValueError: If ``k`` is out of range.

    Example:
        >>> head = torch.nn.Linear(4, 1000)
        >>> logits, ids = linear_top_k(torch.zeros(2, 4), head.weight, head.bias, 5)
        >>> ids.shape
        torch.Size([2, 5])
    """
    if not 1 <= k <= len(weight):
        raise ValueError(f"k: expected 1 to {len(weight)}, got {k}")
    best = hidden.new_empty(len(hidden), 0)
    ids = torch.empty(len(hidden), 0, dtype=torch.long, device=hidden.device)
    for start in range(0, len(weight), chunk_size):
        part = slice(start, start + chunk_size)
        logits = F.linear(hidden, weight[part], bias[part])
        found, where = logits.topk(min(k, logits.shape[1]), dim=1)
        best, ids = torch.cat([best, found], 1), torch.cat([ids, where + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        ids = ids.gather(1, order)
    return best, ids


def _entries(positives: Tensor, num_rows: int, num_labels: int) -> tuple[Tensor, Tensor]:
    """Return row and id of every positive label, without duplicates."""
    if positives.ndim != 2 or len(positives) != num_rows:
        raise ValueError(
            f"positives must be ({num_rows}, K) ids padded with {IGNORE_INDEX}, "
            f"got {tuple(positives.shape)}"
        )
    _check_form(positives, num_labels)
    ordered = positives.long().sort(dim=1).values
    wanted = ordered != IGNORE_INDEX
    wanted[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    rows, _ = wanted.nonzero(as_tuple=True)
    ids = ordered[wanted]
    if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < num_labels):
        wrong = int(ids[(ids < 0) | (ids >= num_labels)][0])
        raise ValueError(f"positives: expected ids from 0 to {num_labels - 1}, got {wrong}")
    return rows, ids


def _check_form(positives: Tensor, num_labels: int) -> None:
    """Refuse values that are not ids: other types, and multi-hot rows."""
    if positives.dtype in NOT_IDS or positives.is_floating_point():
        raise ValueError(f"positives: expected whole numbers as ids, got {positives.dtype}")
    # A row of ids that names each label once has more values than 0 and 1.
    if positives.shape[1] == num_labels > 2 and bool(((positives == 0) | (positives == 1)).all()):
        raise ValueError(
            "positives: expected ids of the positive labels, got multi-hot rows; "
            "pass row.nonzero() of each, padded with -100"
        )


def _pulled_up(logits: Tensor, rows: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Return the first term of the loss, and its derivative by each positive logit."""
    largest = logits.new_zeros(num_rows).scatter_reduce_(0, rows, -logits, "amax")
    largest = largest.clamp_(max=torch.finfo(logits.dtype).max)
    shares = (-logits - largest[rows]).exp()
    total = torch.zeros_like(largest).index_add_(0, rows, shares)
    return log_of_one_and(total, largest), -shares / ((-largest).exp() + total)[rows]


def _refuse_second_derivative() -> None:
    if torch.is_grad_enabled():  # create_graph=True
        raise RuntimeError("this loss has no second derivative; use zlpr_loss with dense targets")


class _FromIndices(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        up, derivative = _pulled_up(logits[rows, ids], rows, len(logits))
        gradient = logits.clone(memory_format=torch.contiguous_format)
        gradient[rows, ids] = -torch.inf
        largest = gradient.amax(-1, keepdim=True).clamp_(0, torch.finfo(logits.dtype).max)
        total = gradient.sub_(largest).exp_().sum(-1, keepdim=True)
        gradient.div_((-largest).exp() + total)
        gradient[rows, ids] = derivative
        ctx.save_for_backward(gradient)
        return up + log_of_one_and(total, largest).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        _refuse_second_derivative()
        (gradient,) = ctx.saved_tensors
        return gradient * outer.unsqueeze(-1), None, None


class _LinearZLPR(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        ids: Tensor,
        chunk_size: int,
    ) -> Tensor:
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        largest = torch.zeros(len(hidden), 1, dtype=dtype, device=hidden.device)
        total = torch.zeros_like(largest)
        for _, logits in _chunks(hidden, weight, bias, rows, ids, chunk_size):
            above = torch.maximum(largest, logits.amax(-1, keepdim=True))
            total = total * (largest - above).exp() + logits.sub_(above).exp_().sum(
                -1, keepdim=True
            )
            largest = above
        chosen = (hidden[rows] * weight[ids]).sum(-1) + bias[ids]
        up, derivative = _pulled_up(chosen.to(dtype), rows, len(hidden))
        losses = up + log_of_one_and(total, largest).squeeze(-1)
        # Keep both: the logarithm of their sum would lose digits if logits are large.
        share = 1 / ((-largest).exp() + total)
        ctx.save_for_backward(hidden, weight, bias, rows, ids, derivative, largest, share)
        ctx.chunk_size = chunk_size
        return losses

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivative()
        hidden, weight, bias, rows, ids, derivative, largest, share = ctx.saved_tensors
        to_hidden = torch.zeros_like(hidden, dtype=share.dtype)
        to_weight, to_bias = torch.empty_like(weight), torch.empty_like(bias)
        outer = outer.unsqueeze(-1)
        for part, logits in _chunks(hidden, weight, bias, rows, ids, ctx.chunk_size):
            shares = logits.sub_(largest).exp_().mul_(outer * share)
            to_bias[part] = shares.sum(0)
            shares = shares.to(hidden.dtype)
            to_hidden += shares @ weight[part].to(hidden.dtype)
            if weight.dtype == hidden.dtype:
                torch.mm(shares.T, hidden, out=to_weight[part])
            else:
                to_weight[part] = shares.T @ hidden
        of_positives = (derivative * outer[rows, 0]).unsqueeze(-1)
        to_hidden.index_add_(0, rows, of_positives * weight[ids])
        to_weight.index_add_(0, ids, (of_positives * hidden[rows]).to(weight.dtype))
        to_bias.index_add_(0, ids, of_positives.squeeze(-1).to(bias.dtype))
        return to_hidden.to(hidden.dtype), to_weight, to_bias, None, None, None


def _chunks(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Tensor, ids: Tensor, size: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits of some labels at a time; those of positive labels are -inf."""
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    order = ids.argsort()
    rows, ids = rows[order], ids[order]
    bounds = torch.searchsorted(ids, torch.arange(0, len(weight) + size, size, device=ids.device))
    for number, start in enumerate(range(0, len(weight), size)):
        part = slice(start, start + size)
        logits = F.linear(hidden, weight[part].to(hidden.dtype), bias[part].to(hidden.dtype))
        logits = logits.to(dtype)
        inside = slice(int(bounds[number]), int(bounds[number + 1]))
        logits[rows[inside], ids[inside] - start] = -torch.inf
        yield part, logits
