"""One battery for every loss in LOSSES, against a double loop over math.exp."""

import math

import pytest
import torch
from torch import Tensor

from zlpr_hf import functional
from zlpr_hf.losses import LOSSES, build_loss

FUNCTIONS = {"zlpr": functional.zlpr_loss, "bce": functional.bce_loss}
NAMES = sorted(LOSSES)
CASES = {
    "hard": [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]],
    "soft": [[0.3, 0.9, 0.01, 0.5], [1.0, 0.0, 0.25, 0.75]],
    "no positive": [[0.0] * 4, [0.0] * 4],
    "only positives": [[1.0] * 4, [1.0] * 4],
    "some unknown": [[1.0, -100.0, 0.0, math.nan], [0.0, 1.0, -100.0, 0.4]],
    "nothing known": [[-100.0] * 4, [math.nan] * 4],
}


def reference(name: str, logits: list[float], targets: list[float]) -> float:
    """The formula of each loss for one example, term by term."""
    known = [
        (s, t) for s, t in zip(logits, targets, strict=True) if t != -100 and not math.isnan(t)
    ]
    if name == "zlpr":
        positive = sum(t * math.exp(-s) for s, t in known)
        negative = sum((1 - t) * math.exp(s) for s, t in known)
        return math.log(1 + positive) + math.log(1 + negative)
    total = sum(
        t * math.log(1 + math.exp(-s)) + (1 - t) * math.log(1 + math.exp(s)) for s, t in known
    )
    return total / max(len(known), 1)


def logits_of(shape: tuple[int, ...], *, scale: float = 2.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def test_the_battery_covers_every_loss() -> None:
    assert set(FUNCTIONS) == set(LOSSES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_value_is_the_double_loop(name: str, case: str) -> None:
    logits, targets = logits_of((2, 4)), torch.tensor(CASES[case], dtype=torch.float64)
    expected = [
        reference(name, s, t) for s, t in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    value = FUNCTIONS[name](logits, targets, reduction="none")
    torch.testing.assert_close(
        value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_gradient(name: str, case: str) -> None:
    logits, targets = logits_of((2, 4)).requires_grad_(), torch.tensor(CASES[case])
    assert torch.autograd.gradcheck(lambda s: FUNCTIONS[name](s, targets), (logits,))
    assert torch.autograd.gradgradcheck(lambda s: FUNCTIONS[name](s, targets), (logits,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("high", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits(name: str, high: float, dtype: torch.dtype) -> None:
    """A logit of 1e4 on the wrong side costs 1e4, on the right side nothing; neither is NaN."""
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    logits = torch.tensor([[high, -high, -high]], dtype=dtype, requires_grad=True)
    loss = FUNCTIONS[name](logits, targets, reduction="none")
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    if high > 0:
        torch.testing.assert_close(loss, torch.zeros(1, dtype=dtype))
        torch.testing.assert_close(logits.grad, torch.zeros(1, 3, dtype=dtype))
    else:
        expected = 2e4 + math.log(2) if name == "zlpr" else 1e4
        torch.testing.assert_close(loss, torch.tensor([expected], dtype=dtype))
        gradient = [-1.0, 0.5, 0.5] if name == "zlpr" else [-1 / 3, 1 / 3, 1 / 3]
        torch.testing.assert_close(logits.grad, torch.tensor([gradient], dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
def test_one_side_far_above_the_other(name: str) -> None:
    """A maximum shared by both sums would make the smaller side underflow to nothing."""
    logits = torch.tensor([[1e4, 0.5, -0.5]], requires_grad=True)
    FUNCTIONS[name](logits, torch.tensor([[0, 1, 0]])).backward()
    assert logits.grad is not None
    if name == "zlpr":
        torch.testing.assert_close(logits.grad[0, 1], -torch.sigmoid(torch.tensor(-0.5)))
    else:
        torch.testing.assert_close(logits.grad[0, 1], -torch.sigmoid(torch.tensor(-0.5)) / 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mask", [-math.inf, -1e30])
def test_masked_negative_is_no_nan(name: str, mask: float) -> None:
    logits = torch.tensor([[0.5, mask, -0.5]], requires_grad=True)
    loss = FUNCTIONS[name](logits, torch.tensor([[1, 0, 0]]), reduction="sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, targets = logits_of((3, 5)).to(dtype), torch.eye(3, 5)
    value = FUNCTIONS[name](logits, targets)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, FUNCTIONS[name](logits.float(), targets))
    assert FUNCTIONS[name](logits.double(), targets).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.float32])
def test_target_types(name: str, dtype: torch.dtype) -> None:
    logits, targets = logits_of((3, 5)), torch.eye(3, 5)
    torch.testing.assert_close(
        FUNCTIONS[name](logits, targets.to(dtype)), FUNCTIONS[name](logits, targets)
    )


@pytest.mark.parametrize("name", NAMES)
def test_permutation_of_labels(name: str) -> None:
    logits, targets, order = logits_of((3, 6)), torch.rand(3, 6), torch.randperm(6)
    shuffled = FUNCTIONS[name](logits[:, order], targets[:, order], reduction="none")
    torch.testing.assert_close(shuffled, FUNCTIONS[name](logits, targets, reduction="none"))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_label_changes_nothing(name: str) -> None:
    logits, targets = logits_of((2, 4)), torch.tensor(CASES["soft"])
    wider = torch.cat([targets, torch.tensor([[-100.0], [math.nan]])], dim=1)
    more = torch.cat([logits, torch.full((2, 1), 7.0, dtype=logits.dtype)], dim=1).requires_grad_()
    loss = FUNCTIONS[name](more, wider)
    torch.testing.assert_close(loss, FUNCTIONS[name](logits, targets))
    (gradient,) = torch.autograd.grad(loss, more)
    assert (gradient[:, -1] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_reductions_shapes_and_module(name: str) -> None:
    logits, targets = logits_of((2, 3, 4)), (logits_of((2, 3, 4), seed=1) > 0)
    each = FUNCTIONS[name](logits, targets, reduction="none")
    assert each.shape == (2, 3)
    torch.testing.assert_close(FUNCTIONS[name](logits, targets), each.mean())
    torch.testing.assert_close(FUNCTIONS[name](logits, targets, reduction="sum"), each.sum())
    for reduction in ("none", "mean", "sum"):
        module = build_loss(name, reduction=reduction)
        torch.testing.assert_close(
            module(logits, targets), FUNCTIONS[name](logits, targets, reduction=reduction)
        )
        assert reduction in repr(module)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"same shape.*\(2, 3\) and \(2, 4\)"):
        FUNCTIONS[name](torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\[0, 1\].*got 1\.5"):
        FUNCTIONS[name](torch.zeros(1, 2), torch.tensor([[0.0, 1.5]]))
    with pytest.raises(ValueError, match="none, mean or sum, got 'max'"):
        FUNCTIONS[name](torch.zeros(1, 2), torch.zeros(1, 2), reduction="max")
    with pytest.raises(ValueError, match="bce, zlpr, got 'zpl'"):
        build_loss("zpl")


def test_bce_is_torchs() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(functional.bce_loss(logits, targets), expected)
