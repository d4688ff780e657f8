"""The fused loss equals the composed one: value, gradient, second derivative, memory."""

import math

import pytest
import torch
from torch import Tensor

from zlpr_hf import zlpr_loss
from zlpr_hf.losses import fused
from zlpr_hf.losses.fused import composed_zlpr_loss

SCALES = (1e-3, 1.0, 11.0, 13.0, 59.0, 61.0, 1e3, 1e4)
KINDS = ("hard", "soft", "unknown", "none", "all", "bool", "masked")


def example(kind: str, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """Random shape, logits up to ``scale``, targets of a kind."""
    generator = torch.Generator().manual_seed(seed)
    rows, labels = (int(n) for n in torch.randint(1, 70, (2,), generator=generator))
    logits = (2 * torch.rand(rows, labels, generator=generator, dtype=torch.float64) - 1) * scale
    targets = (torch.rand(rows, labels, generator=generator) < 0.2).double()
    if kind == "soft":
        targets = torch.rand(rows, labels, generator=generator, dtype=torch.float64)
        targets[:, 0] = torch.rand(rows, generator=generator).round()
    elif kind == "unknown":
        targets[torch.rand(rows, labels, generator=generator) < 0.3] = -100
        targets[0, 0] = math.nan
    elif kind in ("none", "all"):
        targets.fill_(float(kind == "all"))
    elif kind == "masked":
        logits[:, 0], targets[:, 0] = -math.inf, 0.0
    return logits, targets.bool() if kind == "bool" else targets


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype)
    (gradient,) = torch.autograd.grad((loss * weights).sum(), logits)
    return loss.detach(), gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_float32_agrees_with_the_composed_form_in_float64(kind: str, scale: float) -> None:
    for seed in range(6):
        exact, targets = example(kind, scale, seed)
        exact = exact.float().double()  # the same numbers in both
        targets = targets if targets.dtype is torch.bool else targets.float()
        single = exact.float().requires_grad_()
        expected = value_and_gradient(composed_zlpr_loss(exact.requires_grad_(), targets), exact)
        found = value_and_gradient(zlpr_loss(single, targets, reduction="none"), single)
        torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-6, atol=1e-37)
        # Of a soft target two shares nearly cancel: compared with the largest entry of its row.
        error = (found[1].double() - expected[1]).abs().amax(-1)
        assert (error <= 1e-6 * expected[1].abs().amax(-1) + 1e-37).all()


def test_result_does_not_depend_on_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = example("soft", 20.0, 3)
    logits[0] *= 1e3  # one row in log space, the others as they are
    logits.requires_grad_()
    whole = value_and_gradient(zlpr_loss(logits, targets, reduction="none"), logits)
    for size in (1, 100, 1000):
        monkeypatch.setattr(fused, "BLOCK_CELLS", size)
        parts = value_and_gradient(zlpr_loss(logits, targets, reduction="none"), logits)
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("kind", ["hard", "soft", "unknown"])
def test_derivatives_to_the_second(reduction: str, kind: str) -> None:
    logits, targets = example(kind, 3.0, 1)
    logits, targets = logits[:3, :5].clone().requires_grad_(), targets[:3, :5]

    def loss(values: Tensor) -> Tensor:
        return zlpr_loss(values, targets, reduction=reduction)  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(loss, logits)
    assert torch.autograd.gradgradcheck(loss, logits)


def test_backward_twice_gives_the_same_gradient() -> None:
    logits = torch.randn(4, 6, requires_grad=True)
    loss = zlpr_loss(logits, torch.eye(4, 6))
    loss.backward(retain_graph=True)
    first = logits.grad.clone()
    logits.grad.mul_(7)  # the returned gradient must not be the stored one
    logits.grad = None
    loss.backward()
    torch.testing.assert_close(logits.grad, first)
    (loss2 := zlpr_loss(logits, torch.eye(4, 6))).backward()
    torch.testing.assert_close(logits.grad, 2 * first)
    assert loss2.item() == loss.item()


def test_only_the_gradient_is_kept() -> None:
    logits, targets = torch.randn(8, 500, requires_grad=True), torch.zeros(8, 500)
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = zlpr_loss(logits, targets)
    given = {each.untyped_storage().data_ptr() for each in (logits, targets)}
    assert set(kept) <= given
    assert loss.grad_fn.gradient.shape == (8, 500)
    loss.backward()
    assert loss.grad_fn.gradient is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp", "hessian"])
def test_transforms_of_torch_fall_back(transform: str) -> None:
    logits = torch.randn(5, 7, dtype=torch.float64)
    targets = (torch.rand(5, 7) < 0.3).double()
    single = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(zlpr_loss(single, targets), single)

    def loss(values: Tensor) -> Tensor:
        return zlpr_loss(values, targets[: len(values)])

    if transform == "grad":
        torch.testing.assert_close(torch.func.grad(loss)(logits), expected)
    elif transform == "jvp":
        direction = torch.ones_like(logits)
        _, change = torch.func.jvp(loss, (logits,), (direction,))
        torch.testing.assert_close(change, expected.sum())
    elif transform == "hessian":
        assert torch.func.hessian(loss)(logits[:1]).shape == (1, 7, 1, 7)
    else:
        rows = torch.vmap(zlpr_loss)(logits, targets)
        torch.testing.assert_close(rows, zlpr_loss(logits, targets, reduction="none"))


def test_half_precision_under_autocast() -> None:
    logits = torch.randn(4, 9).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = zlpr_loss(logits, torch.eye(4, 9))
    loss.backward()
    assert loss.dtype is torch.float32
    assert logits.grad.dtype is torch.bfloat16
    expected = zlpr_loss(logits.detach().float(), torch.eye(4, 9))
    torch.testing.assert_close(loss.detach(), expected)


def test_shapes_and_strides() -> None:
    logits, targets = torch.randn(2, 3, 5), (torch.rand(2, 3, 5) < 0.5).float()
    rows = zlpr_loss(logits, targets, reduction="none")
    assert rows.shape == (2, 3)
    turned = zlpr_loss(logits.mT.contiguous().mT, targets.mT.contiguous().mT, reduction="none")
    torch.testing.assert_close(turned, rows)
    assert zlpr_loss(logits[0, 0], targets[0, 0], reduction="none").shape == ()
    assert zlpr_loss(torch.zeros(0, 5), torch.zeros(0, 5), reduction="sum") == 0
    assert zlpr_loss(torch.zeros(0, 5), torch.zeros(0, 5)).isnan()
