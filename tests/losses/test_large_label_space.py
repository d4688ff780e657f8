"""Losses from ids and in chunks equal the dense form and hold less memory."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf import linear_top_k, linear_zlpr_loss, zlpr_loss, zlpr_loss_from_indices

SCALES = (1.0, 30.0, 1e4)


def example(scale: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, ids of positives with padding and repetitions, and the same as dense targets."""
    generator = torch.Generator().manual_seed(seed)
    rows, labels, width = (int(n) for n in torch.randint(2, 40, (3,), generator=generator))
    logits = (2 * torch.rand(rows, labels, generator=generator) - 1) * scale
    positives = torch.randint(labels, (rows, width), generator=generator)
    positives[torch.rand(rows, width, generator=generator) < 0.7] = -100
    positives[0] = -100
    targets = torch.zeros(rows, labels + 1)
    targets.scatter_(1, positives.where(positives >= 0, labels), 1.0)
    return logits, positives, targets[:, :-1]


@pytest.mark.parametrize("scale", SCALES)
def test_ids_agree_with_dense_targets(scale: float) -> None:
    for seed in range(10):
        logits, positives, targets = example(scale, seed)
        one, other = logits.clone().requires_grad_(), logits.double().requires_grad_()
        found = zlpr_loss_from_indices(one, positives, reduction="none")
        expected = zlpr_loss(other, targets, reduction="none")
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-37)
        found.sum().backward()
        expected.sum().backward()
        error = (one.grad.double() - other.grad).abs().amax(-1)
        assert (error <= 1e-6 * other.grad.abs().amax(-1) + 1e-37).all()


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
@pytest.mark.parametrize("scale", SCALES)
def test_the_head_in_chunks_agrees_with_the_dense_head(scale: float, chunk_size: int) -> None:
    for seed in range(5):
        logits, positives, targets = example(1.0, seed)
        generator = torch.Generator().manual_seed(seed)
        size = (logits.shape[1], 6)
        weight = scale * torch.randn(size, generator=generator, dtype=torch.float64)
        bias = torch.randn(len(weight), generator=generator, dtype=torch.float64)
        hidden = torch.randn(len(logits), 6, generator=generator, dtype=torch.float64)
        leaves = [value.requires_grad_() for value in (hidden, weight, bias)]
        weights = torch.linspace(0.1, 1, len(hidden), dtype=torch.float64)
        dense = zlpr_loss(hidden @ weight.T + bias, targets, reduction="none")
        expected = torch.autograd.grad((dense * weights).sum(), leaves)
        loss = linear_zlpr_loss(
            hidden, weight, bias, positives, chunk_size=chunk_size, reduction="none"
        )
        torch.testing.assert_close(loss, dense, rtol=1e-10, atol=1e-30)
        found = torch.autograd.grad((loss * weights).sum(), leaves)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_derivatives(reduction: str) -> None:
    logits, positives, _ = example(2.0, 4)
    logits = logits[:3].double().requires_grad_()
    positives = positives[:3]
    assert torch.autograd.gradcheck(
        lambda values: zlpr_loss_from_indices(values, positives, reduction=reduction), logits
    )
    head = torch.nn.Linear(3, logits.shape[1]).double()
    hidden = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: linear_zlpr_loss(*given, positives, chunk_size=4, reduction=reduction),
        (hidden, head.weight, head.bias),
    )


def test_second_derivative_is_refused() -> None:
    logits = torch.randn(2, 5, requires_grad=True)
    loss = zlpr_loss_from_indices(logits, torch.tensor([[1], [2]]))
    with pytest.raises(RuntimeError, match="no second derivative; use zlpr_loss"):
        torch.autograd.grad(loss, logits, create_graph=True)


def test_masked_logits() -> None:
    logits = torch.tensor([[1.0, -math.inf, 2.0]], requires_grad=True)
    loss = zlpr_loss_from_indices(logits, torch.tensor([[0]]))
    loss.backward()
    expected = zlpr_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1, 0]]))
    torch.testing.assert_close(loss.detach(), expected)
    assert logits.grad.isfinite().all()


def test_no_tensor_holds_all_logits() -> None:
    labels, batch, chunk = 5000, 8, 100
    head = torch.nn.Linear(4, labels)
    hidden = torch.randn(batch, 4, requires_grad=True)
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.shape[:1] == (batch,):
                largest = max(largest, result.numel())
            return result

    with Sizes():
        loss = linear_zlpr_loss(
            hidden, head.weight, head.bias, torch.tensor([[1, 4999]] * batch), chunk_size=chunk
        )
        loss.backward()
    assert 0 < largest <= batch * chunk


def test_top_k() -> None:
    head, hidden = torch.nn.Linear(4, 50), torch.randn(3, 4)
    expected = head(hidden).topk(7, dim=1)
    for chunk_size in (1, 3, 8, 100):
        logits, ids = linear_top_k(hidden, head.weight, head.bias, 7, chunk_size=chunk_size)
        torch.testing.assert_close(logits, expected.values)
        assert torch.equal(ids, expected.indices)


@pytest.mark.parametrize(
    ("positives", "message"),
    [
        (torch.tensor([1, 2]), r"positives must be \(2, K\) ids padded with -100, got \(2,\)"),
        (torch.tensor([[1], [9]]), "expected ids from 0 to 4, got 9"),
        (torch.tensor([[-1], [0]]), "expected ids from 0 to 4, got -1"),
        (torch.tensor([[1.0], [2.0]]), "whole numbers as ids, got torch.float32"),
        (torch.tensor([[True], [False]]), "whole numbers as ids, got torch.bool"),
        (torch.tensor([[1, 0, 0, 1, 0], [0, 0, 0, 0, 1]]), "got multi-hot rows"),
    ],
)
def test_wrong_ids(positives: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zlpr_loss_from_indices(torch.zeros(2, 5), positives)
    with pytest.raises(ValueError, match=message):
        linear_zlpr_loss(torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(5), positives)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_ids_of_every_whole_type_agree(dtype: torch.dtype) -> None:
    logits, ids = torch.randn(2, 5), torch.tensor([[1, 4], [2, 3]])
    expected = zlpr_loss(logits, F.one_hot(ids, 5).sum(1).float())
    torch.testing.assert_close(zlpr_loss_from_indices(logits, ids.to(dtype)), expected)


def test_wrong_shapes_and_sizes() -> None:
    ids = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match="expected hidden"):
        linear_zlpr_loss(torch.zeros(2, 3), torch.zeros(5, 4), torch.zeros(5), ids)
    with pytest.raises(ValueError, match="chunk_size: expected 1 or more, got 0"):
        linear_zlpr_loss(torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(5), ids, chunk_size=0)
    with pytest.raises(ValueError, match="k: expected 1 to 5, got 6"):
        linear_top_k(torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(5), 6)
    with pytest.raises(ValueError, match="reduction must be"):
        zlpr_loss_from_indices(torch.zeros(2, 5), ids, reduction="max")  # type: ignore[arg-type]


def test_features_in_half_precision_meet_a_head_in_single() -> None:
    head, positives = torch.nn.Linear(8, 50), torch.tensor([[3, 7], [9, -100]])
    hidden = torch.randn(2, 8)
    single = linear_zlpr_loss(hidden.bfloat16().float(), head.weight, head.bias, positives)
    expected = torch.autograd.grad(single, [head.weight, head.bias])
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_zlpr_loss(hidden.bfloat16(), head.weight, head.bias, positives)
    found = torch.autograd.grad(loss, [head.weight, head.bias])
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, single, rtol=2e-2, atol=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)
    assert all(value.dtype == torch.float32 for value in found)
