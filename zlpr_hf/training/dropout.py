"""Dropout that spends a fraction of the time on its random numbers, for training on a processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zlpr_hf.losses.numerics import is_traced

PROBABILITY_STEPS = 2**16
"""Steps of the probability: sixteen random bits decide on an element."""

MIN_ELEMENTS = 2**14
"""Elements below which torch's own dropout is as fast."""

_stock_dropout = functional.dropout


def fast_dropout(values: Tensor, p: float) -> Tensor:
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)``.

    Torch draws a number of 53 bits an element, on one thread where its MKL does not; here a draw of
    64 bits decides on four elements. The source is SFC64, seeded from torch's generator on every
    call: the same torch seed gives the same mask, whatever the number of threads, and a checkpoint
    that holds the state of torch's generator holds that of this one. A byte an element is kept
    for the backward pass, where torch keeps a number.

    Args:
        values: On the processor, floating.
        p: In [0, 1]. Rounded to a multiple of 2^-16; the scale belongs to what it was rounded to.

    Shape:
        values: ``(*)``. Result: the same.

    Returns:
        New values, differentiable twice.

    Raises:
        ValueError: If ``p`` is outside [0, 1], or ``values`` are no floating numbers on the
            processor.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> dropped = fast_dropout(torch.ones(1000, 100), p=0.25)
        >>> dropped.unique()
        tensor([0.0000, 1.3333])
        >>> round(float(dropped.mean()), 2)
        1.0
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must lie in [0, 1], got {p:g}")
    if not (values.is_cpu and values.is_floating_point()):
        raise ValueError(
            f"values must be floating and on the processor, got {values.dtype} on {values.device}"
        )
    threshold = round(p * PROBABILITY_STEPS)
    if threshold in (0, PROBABILITY_STEPS):
        return values.clone() if threshold == 0 else values * 0
    result: Tensor = _apply(values, threshold)
    return result


def _draw_mask(shape: torch.Size, threshold: int) -> Tensor:
    """True where an element is kept."""
    count = shape.numel()
    seed = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count]
    return torch.from_numpy(bits).view(shape) >= threshold - PROBABILITY_STEPS // 2


class _FastDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, threshold: int) -> Tensor:
        kept = _draw_mask(values.shape, threshold)
        ctx.save_for_backward(kept)
        ctx.scale = PROBABILITY_STEPS / (PROBABILITY_STEPS - threshold)
        return torch.where(kept, values, 0.0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.where(kept, grad_outputs[0], 0.0).mul_(ctx.scale), None


_apply: Callable[[Tensor, int], Tensor] = _FastDropout.apply


@contextmanager
def all_dropout_fast() -> Iterator[None]:
    """While it is entered, dropout on the processor is :func:`fast_dropout`.

    That holds for ``torch.nn.Dropout`` and ``torch.nn.functional.dropout`` in any model of the
    process; what is on another device, small, in place, or traced by a compiler or by
    ``torch.func`` is left to torch, and so is dropout within fused attention. The function is
    exchanged, where a mode of torch would be off during the backward pass: activation checkpointing
    computes layers again there, and must find the masks that it had before.
    """
    before = functional.dropout
    setattr(functional, "dropout", _dropout)  # noqa: B010 (mypy refuses to assign to a function)
    try:
        yield
    finally:
        setattr(functional, "dropout", before)  # noqa: B010


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """With the parameters that torch names so."""
    ours = (
        training
        and not inplace
        and 0.0 <= p <= 1.0
        and type(input) is Tensor
        and not is_traced(input)
        and input.is_cpu
        and input.is_floating_point()
        and input.numel() >= MIN_ELEMENTS
    )
    return fast_dropout(input, p) if ours else _stock_dropout(input, p, training, inplace)
