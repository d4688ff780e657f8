"""Dropout that spends a fraction of the time on random numbers, for training on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zlpr_hf.losses.fused import can_be_fused

PROBABILITY_STEPS = 2**16
"""Resolution of the probability: sixteen random bits decide on one element."""

MIN_ELEMENTS = 2**14
"""Elements below which torch's own dropout is as fast."""


def fast_dropout(values: Tensor, p: float) -> Tensor:
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)``.

    Torch draws 53 bits per element, on one thread unless MKL does it. Here one draw of 64 bits
    decides on four elements. The source is SFC64, seeded from torch's generator on every call: the
    same torch seed gives the same mask on any number of threads, and a checkpoint with the state of
    torch's generator holds that of this one. The backward pass keeps one byte per element.

    ``p`` in [0, 1] is rounded to a multiple of 2^-16, and the scale follows the rounded value. The
    result is differentiable twice. ``values`` are floating and on the CPU.
    """
    threshold = round(p * PROBABILITY_STEPS)
    if threshold in (0, PROBABILITY_STEPS):
        return values.clone() if threshold == 0 else values * 0
    result: Tensor = _apply(values, threshold)
    return result


def drop(values: Tensor, p: float, *, training: bool, inplace: bool = False) -> Tensor:
    """Apply :func:`fast_dropout` where it is faster, else ``torch.nn.functional.dropout``.

    Torch's own takes tensors that are small, in place, on another device, differentiated in forward
    mode, or traced by a compiler or by ``torch.func``.
    """
    fast = (
        training
        and not inplace
        and 0.0 <= p <= 1.0
        and type(values) is Tensor
        and values.is_cpu
        and values.is_floating_point()
        and values.numel() >= MIN_ELEMENTS
        and can_be_fused(values)
    )
    return fast_dropout(values, p) if fast else functional.dropout(values, p, training, inplace)


def _draw_mask(shape: torch.Size, threshold: int) -> Tensor:
    """Return True where an element is kept."""
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
