"""One battery for every loss in LOSSES, against a double loop over math.exp."""

import itertools
import math
from typing import Any

import pytest
import torch

from tests.losses.formulas import (
    BATCHES,
    MEANS,
    ROWS,
    SUMS,
    class_weight,
    known_cells,
    row_weight,
    shift,
)
from tests.losses.functions import FUNCTIONS, WEIGHTS, all_sets, counts, logits_of, set_logits
from zlpr_hf.losses.binary_relevance import bce_loss
from zlpr_hf.losses.modules import PowersetLoss, WeightedBCELoss
from zlpr_hf.losses.registry import LOSSES, build_loss

NAMES = sorted(LOSSES)
AT_THE_WRONG_END: dict[str, tuple[float, list[float]]] = {
    "zlpr": (2e4 + math.log(2), [-1.0, 0.5, 0.5]),
    "bce": (1e4, [-1 / 3, 1 / 3, 1 / 3]),
    "weighted_bce": (1e4, [-1 / 3, 1 / 3, 1 / 3]),
    "focal": (1e4, [-1 / 3, 1 / 3, 1 / 3]),
    # A negative label costs at most -log 0.05, and 0.95^4 of that.
    "asymmetric": (1e4 - 2 * 0.95**4 * math.log(0.05), [-1.0, 0.0, 0.0]),
    "robust_asymmetric": (1e4 + 0.25 - 2 * 0.95**4 * 0.5 * 1.45 * math.log(0.05), [-1.0, 0.0, 0.0]),
    "poly1": (1e4 + 1, [-1 / 3, 1 / 3, 1 / 3]),
    "class_balanced": (
        sum(class_weight(i) * (1e4 + sign * shift(i)) / 3 for i, sign in enumerate((1, -1, -1))),
        [sign * class_weight(i) / 3 for i, sign in enumerate((-1, 1, 1))],
    ),
    "distribution_balanced": (
        sum(
            row_weight(i, [1, 0, 0]) * (1e4 + sign * shift(i)) / 3
            for i, sign in enumerate((1, -1, -1))
        ),
        [sign * row_weight(i, [1, 0, 0]) / 3 for i, sign in enumerate((-1, 1, 1))],
    ),
    "hill": (1e4 + 1 + 2 * 0.5, [-1.0, 0.0, 0.0]),
    "splc": (1e4 + 1, [-1.0, 0.0, 0.0]),  # the negatives count as missing labels
    "sigmoid_f1": (1.0, [0.0, 0.0, 0.0]),
    "powerset": (3e4, [-1.0, 1.0, 1.0]),
    "two_way": (2e4 + math.log(2), [-1.0, 0.5, 0.5]),
    "lsep": (2e4 + math.log(2), [-1.0, 0.5, 0.5]),
    "bp_mll": (math.exp(2), [0.0, 0.0, 0.0]),
}
"""Loss and gradient of the targets 1, 0, 0 at logits of -1e4, 1e4, 1e4."""

COST_OF_RIGHT = {
    "bp_mll": math.exp(-2),  # bounded outputs never reach zero
    "sigmoid_f1": 2 / 3,  # the F1 of a label without positives counts as 0
}
"""Loss of the targets 1, 0, 0 at logits of 1e4, -1e4, -1e4, where it is not 0."""

HALF = 1 / (1 + math.exp(0.5))


def focal_slope(logit: float) -> float:
    """Derivative of a focal loss with exponent 2 at a positive label."""
    p = 1 / (1 + math.exp(-logit))
    return (1 - p) ** 2 * (2 * p * math.log(p) - (1 - p))


SHARE_OF_THE_SMALL_SIDE = {
    "zlpr": -HALF,
    "bce": -HALF / 3,
    "weighted_bce": -HALF,
    "focal": (HALF**2 * (2 * (1 - HALF) * math.log(1 - HALF) - HALF)) / 3,
    "asymmetric": -HALF,
    "robust_asymmetric": -(HALF**2) - 2.5 * HALF**2 * (1 - HALF),
    "poly1": -HALF * (2 - HALF) / 3,
    "class_balanced": class_weight(1) * focal_slope(0.5 - shift(1)) / 3,
    "distribution_balanced": row_weight(1, [0, 1, 0]) * focal_slope(0.5 - shift(1)) / 3,
    "hill": focal_slope(-0.5),
    "splc": focal_slope(-0.5),
    "sigmoid_f1": -2 * HALF * (1 - HALF) / (2 - HALF) ** 2 / 3,
    "powerset": -HALF,
    "two_way": -1.0,
    "lsep": -1.0,
    "bp_mll": -(1 - math.tanh(0.5) ** 2)
    * math.exp(-math.tanh(0.5))
    * (math.exp(1) + math.exp(-math.tanh(0.5)))
    / 2,
}
"""Gradient of the middle label of the targets 0, 1, 0 at logits of 1e4, 0.5, -0.5."""

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
    known = known_cells(logits, targets)
    if name in ROWS:
        return ROWS[name](logits, targets)
    if name in SUMS or name in MEANS:
        total = sum((SUMS | MEANS)[name](s, t) for s, t in known)
        return total / max(len(known), 1) if name in MEANS else total
    if name == "zlpr":
        positive = sum(t * math.exp(-s) for s, t in known)
        negative = sum((1 - t) * math.exp(s) for s, t in known)
        return math.log(1 + positive) + math.log(1 + negative)
    if name == "lsep":
        pairs = [t * (1 - u) * math.exp(r - s) for s, t in known for r, u in known]
        return math.log(1 + sum(pairs))
    if name == "bp_mll":
        pairs = [
            (t * (1 - u), math.exp(math.tanh(r) - math.tanh(s))) for s, t in known for r, u in known
        ]
        count = sum(weight for weight, _ in pairs)
        return sum(weight * value for weight, value in pairs) / count if count else 0.0
    if name == "powerset":
        return powerset_reference(logits, targets)
    total = 0.0
    for index, (s, t) in enumerate(zip(logits, targets, strict=True)):
        if t == -100 or math.isnan(t):
            continue
        p = 1 / (1 + math.exp(-s))
        up, down = -math.log(p), -math.log(1 - p)
        if name == "weighted_bce":
            up *= WEIGHTS[index].item()
        elif name == "focal":
            up, down = (1 - p) ** 2 * up, p**2 * down
        elif name == "asymmetric":
            shifted = max(p - 0.05, 0)
            down = shifted**4 * -math.log(1 - shifted)
        total += t * up + (1 - t) * down
    return total if name == "asymmetric" else total / max(len(known), 1)


def references(name: str, logits: list[list[float]], targets: list[list[float]]) -> list[float]:
    """The formula of each loss for the examples of a batch."""
    if name in BATCHES:
        return BATCHES[name](logits, targets)
    return [reference(name, s, t) for s, t in zip(logits, targets, strict=True)]


def powerset_reference(logits: list[float], targets: list[float]) -> float:
    """Share of the sets that match the known labels, over all possible sets."""
    everything = matching = 0.0
    for flags in itertools.product([False, True], repeat=len(logits)):
        weight = math.exp(sum(s for s, flag in zip(logits, flags, strict=True) if flag))
        everything += weight
        agrees = (
            t == -100 or math.isnan(t) or (t >= 0.5) == flag
            for t, flag in zip(targets, flags, strict=True)
        )
        matching += weight if all(agrees) else 0.0
    return -math.log(matching / everything)


def module_of(name: str, reduction: Any) -> torch.nn.Module:
    if name == "powerset":
        return PowersetLoss(all_sets(4), reduction=reduction)
    if name == "weighted_bce":
        return WeightedBCELoss(WEIGHTS[:4], reduction=reduction)
    if name in ROWS:
        return LOSSES[name](*counts(4), reduction=reduction)  # type: ignore[misc]
    return build_loss(name, reduction=reduction)


def test_battery_covers_every_loss() -> None:
    assert set(FUNCTIONS) == set(LOSSES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_value_equals_a_double_loop(name: str, case: str) -> None:
    logits, targets = logits_of((2, 4)), torch.tensor(CASES[case], dtype=torch.float64)
    expected = references(name, logits.tolist(), targets.tolist())
    value = FUNCTIONS[name](logits, targets, reduction="none")
    torch.testing.assert_close(
        value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_gradient_equals_differences_of_the_double_loop(name: str, case: str) -> None:
    logits, targets = logits_of((2, 4)).requires_grad_(), CASES[case]
    total = FUNCTIONS[name](logits, torch.tensor(targets), reduction="sum")
    (gradient,) = torch.autograd.grad(total, logits)
    step = 1e-6

    def moved(row: int, label: int, by: float) -> float:
        values = logits.tolist()
        values[row][label] += by
        return math.fsum(references(name, values, targets))

    expected = [
        [(moved(i, j, step) - moved(i, j, -step)) / (2 * step) for j in range(4)] for i in range(2)
    ]
    torch.testing.assert_close(
        gradient, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-8
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
    expected, gradient = (0.0, [0.0] * 3) if high > 0 else AT_THE_WRONG_END[name]
    if name in COST_OF_RIGHT and high > 0:
        expected = COST_OF_RIGHT[name]
    torch.testing.assert_close(loss, torch.tensor([expected], dtype=dtype))
    torch.testing.assert_close(logits.grad, torch.tensor([gradient], dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
def test_one_side_far_above_the_other(name: str) -> None:
    """A maximum shared by both sums would make the smaller side underflow to nothing."""
    logits = torch.tensor([[1e4, 0.5, -0.5]], requires_grad=True)
    FUNCTIONS[name](logits, torch.tensor([[0, 1, 0]])).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, 1], torch.tensor(SHARE_OF_THE_SMALL_SIDE[name]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mask", [-math.inf, -1e30])
def test_masked_negative_gives_no_nan(name: str, mask: float) -> None:
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
def test_permutation_of_labels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets, order = logits_of((3, 6)), torch.rand(3, 6), torch.randperm(6)
    plain = FUNCTIONS[name](logits, targets, reduction="none")
    monkeypatch.setattr("tests.losses.functions.WEIGHTS", WEIGHTS[order])
    shuffled = FUNCTIONS[name](logits[:, order], targets[:, order], reduction="none")
    torch.testing.assert_close(shuffled, plain)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_label_changes_nothing(name: str) -> None:
    logits, targets = logits_of((2, 4)), torch.tensor(CASES["soft"])
    wider = torch.cat([targets, torch.tensor([[-100.0], [math.nan]])], dim=1)
    more = torch.cat([logits, torch.full((2, 1), 7.0, dtype=logits.dtype)], dim=1).requires_grad_()
    loss = FUNCTIONS[name](more, wider)
    torch.testing.assert_close(loss, FUNCTIONS[name](logits, targets))
    (gradient,) = torch.autograd.grad(loss, more)
    assert gradient[:, -1].abs().max() <= (1e-15 if name == "powerset" else 0)


@pytest.mark.parametrize("name", NAMES)
def test_reductions_shapes_and_module(name: str) -> None:
    logits, targets = logits_of((2, 3, 4)), (logits_of((2, 3, 4), seed=1) > 0)
    each = FUNCTIONS[name](logits, targets, reduction="none")
    assert each.shape == (2, 3)
    torch.testing.assert_close(FUNCTIONS[name](logits, targets), each.mean())
    torch.testing.assert_close(FUNCTIONS[name](logits, targets, reduction="sum"), each.sum())
    for reduction in ("none", "mean", "sum"):
        module = module_of(name, reduction)
        inputs = set_logits(logits) if name == "powerset" else logits
        torch.testing.assert_close(
            module(inputs, targets), FUNCTIONS[name](logits, targets, reduction=reduction)
        )
        assert reduction in repr(module)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"same shape.*\(2, \d\)(,| and) \(2, 4\)"):
        FUNCTIONS[name](torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\[0, 1\].*got 1\.5"):
        FUNCTIONS[name](torch.zeros(1, 2), torch.tensor([[0.0, 1.5]]))
    with pytest.raises(ValueError, match="none, mean or sum, got 'max'"):
        FUNCTIONS[name](torch.zeros(1, 2), torch.zeros(1, 2), reduction="max")
    with pytest.raises(ValueError, match="bce, .*zlpr, got 'zpl'"):
        build_loss("zpl")


def test_bce_equals_torch() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(bce_loss(logits, targets), expected)
