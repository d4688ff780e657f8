"""Losses on the device, compiled and in half precision, against float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.device import DEVICE, peak_mib
from tests.losses.functions import FUNCTIONS, logits_of
from tests.losses.implementations import IMPLEMENTATIONS
from zlpr_hf import linear_top_k, linear_zlpr_loss, zlpr_loss

pytestmark = pytest.mark.gpu
SHAPE = (8, 6)
Loss = Callable[..., Tensor]


def targets_of(kind: str) -> Tensor:
    targets = logits_of(SHAPE, seed=1).sigmoid()
    if kind == "soft":
        return targets
    targets = targets.round()
    if kind == "unknown":
        targets[0], targets[1, :3], targets[2, 2] = -100, math.nan, -100
    return targets


def value_and_gradient(loss: Loss, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 on the CPU."""
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, targets)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach().cpu().double(), gradient.cpu().double()


def check(loss: Loss, exact: Loss, logits: Tensor, targets: Tensor, **tolerance: float) -> None:
    """Compare a loss in float32 on the device with float64 on the CPU, for the same numbers."""
    logits = logits.float()
    found = value_and_gradient(loss, logits.to(DEVICE), targets.float().to(DEVICE))
    expected = value_and_gradient(exact, logits.double(), targets.float().double())
    torch.testing.assert_close(found, expected, **{"rtol": 1e-5, "atol": 1e-6} | tolerance)


@pytest.mark.parametrize("kind", ["hard", "soft", "unknown"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_loss_is_that_of_float64(name: str, kind: str) -> None:
    check(FUNCTIONS[name], FUNCTIONS[name], logits_of(SHAPE), targets_of(kind))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_compiled_loss_is_that_of_float64(name: str) -> None:
    torch.compiler.reset()
    compiled: Any = torch.compile(FUNCTIONS[name])
    check(compiled, FUNCTIONS[name], logits_of(SHAPE), targets_of("soft"))


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_implementations_of_zlpr_agree(name: str, scale: float) -> None:
    logits = logits_of((16, 3000), scale=scale)
    targets = (logits_of(logits.shape, seed=1) > 4).double()
    check(IMPLEMENTATIONS[name], IMPLEMENTATIONS["composed"], logits, targets, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits = logits_of(SHAPE).to(DEVICE, dtype).requires_grad_()
    targets = targets_of("hard").to(DEVICE)
    with torch.autocast(DEVICE, dtype):
        value = FUNCTIONS[name](logits, targets)
    value.backward()
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, FUNCTIONS[name](logits.float(), targets))
    assert logits.grad is not None
    assert logits.grad.dtype is dtype
    assert logits.grad.isfinite().all()


def test_chunks_hold_less_than_half_of_the_logits(
    record_property: Callable[[str, object], None],
) -> None:
    rows, labels = 256, 100_000
    hidden = torch.randn(rows, 16, device=DEVICE, requires_grad=True)
    weight = torch.zeros(labels, 16, device=DEVICE, requires_grad=True)
    bias = torch.zeros(labels, device=DEVICE, requires_grad=True)
    ids = torch.arange(rows, device=DEVICE).unsqueeze(1)
    targets = torch.zeros(rows, labels, device=DEVICE).scatter_(1, ids, 1)
    forms: dict[str, Callable[[], Tensor]] = {
        "chunks": lambda: linear_zlpr_loss(hidden, weight, bias, ids),
        "dense": lambda: zlpr_loss(hidden @ weight.T + bias, targets),
    }
    found = {}
    for name, form in forms.items():
        form().backward()  # gradients and the buffers of matrix products stay
        found[name] = peak_mib(lambda form=form: form().backward())
        record_property(f"{name}_mib", found[name])
    assert found["chunks"] < rows * labels * 4 / 2**20 / 2 < found["dense"]
    best, found_ids = linear_top_k(hidden, weight, bias, 3)
    assert best.device.type == found_ids.device.type == DEVICE
