"""Four implementations of one loss agree for every shape and scale."""

import math

import pytest
import torch
from torch import Tensor

from tests.losses.implementations import IMPLEMENTATIONS
from zlpr_hf.losses.fused import composed_zlpr_loss


def definition(logits: Tensor, targets: Tensor) -> list[float]:
    """The paper's formula, number by number; for logits that math.exp can take."""
    losses = []
    for row, present in zip(logits.tolist(), targets.tolist(), strict=True):
        up = sum(math.exp(-s) for s, t in zip(row, present, strict=True) if t)
        down = sum(math.exp(s) for s, t in zip(row, present, strict=True) if not t)
        losses.append(math.log1p(up) + math.log1p(down))
    return losses


def draw(seed: int, scale: float) -> tuple[Tensor, Tensor]:
    """Random shape; the first row has no positive label and the last one nothing else."""
    generator = torch.Generator().manual_seed(seed)
    rows, labels = (int(n) for n in torch.randint(2, 50, (2,), generator=generator))
    logits = (2 * torch.rand(rows, labels, generator=generator, dtype=torch.float64) - 1) * scale
    targets = torch.rand(rows, labels, generator=generator) < 0.15
    targets[0], targets[-1] = False, True
    return logits, targets.double()


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_value_equals_the_formula(name: str) -> None:
    for seed in range(20):
        logits, targets = draw(seed, 30.0)
        found = IMPLEMENTATIONS[name](logits, targets)
        assert found.tolist() == pytest.approx(definition(logits, targets), rel=1e-10)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_its_gradient_is_the_derivative(name: str) -> None:
    logits, targets = draw(3, 3.0)
    logits, targets = logits[:4, :9].clone().requires_grad_(), targets[:4, :9]
    assert torch.autograd.gradcheck(lambda values: IMPLEMENTATIONS[name](values, targets), logits)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 20.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_implementations_agree(scale: float, dtype: torch.dtype) -> None:
    tolerance = 1e-6 if dtype is torch.float32 else 1e-12
    for seed in range(30):
        logits, targets = draw(seed, scale)
        logits = logits.to(dtype)
        exact = logits.double().requires_grad_()
        expected = composed_zlpr_loss(exact, targets)
        (slope,) = torch.autograd.grad(expected.sum(), exact)
        for name, loss in IMPLEMENTATIONS.items():
            values = logits.clone().requires_grad_()
            found = loss(values, targets.to(dtype))
            (gradient,) = torch.autograd.grad(found.sum(), values)
            torch.testing.assert_close(
                found.double(), expected, rtol=tolerance, atol=1e-37, msg=lambda m, n=name: n + m
            )
            error = (gradient.double() - slope).abs().amax(-1)
            assert (error <= tolerance * slope.abs().amax(-1) + 1e-37).all(), name


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_far_logits_have_exact_losses(name: str, sign: int) -> None:
    """All right: no loss and no gradient; all wrong: the distance and log 2 for two wrong ones."""
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    logits = (sign * torch.tensor([[1e4, -1e4, -1e4]])).requires_grad_()
    loss = IMPLEMENTATIONS[name](logits, targets)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    if sign == 1:
        assert loss.item() == 0
        assert gradient.abs().max() == 0
    else:
        assert loss.item() == pytest.approx(2e4 + math.log(2), rel=1e-6)
        torch.testing.assert_close(gradient, torch.tensor([[-1.0, 0.5, 0.5]]))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_masked_logit_of_an_absent_label_does_not_count(name: str) -> None:
    logits = torch.tensor([[1.0, -1e30, 2.0]], requires_grad=True)
    loss = IMPLEMENTATIONS[name](logits, torch.tensor([[1.0, 0.0, 0.0]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    expected = composed_zlpr_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(loss, expected)
    assert gradient[0, 1] == 0
