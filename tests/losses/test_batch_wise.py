"""The two-way loss and sigmoidF1: comparisons between texts of a batch."""

import math

import pytest
import torch

from tests.losses.functions import FUNCTIONS, logits_of
from zlpr_hf import lsep_loss, sigmoid_f1_loss, two_way_loss
from zlpr_hf.losses.registry import LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_only_some_losses_compare_the_texts_of_a_batch(name: str) -> None:
    logits, targets = logits_of((4, 3)), torch.eye(4, 3)
    together = FUNCTIONS[name](logits, targets, reduction="none")
    alone = torch.cat([FUNCTIONS[name](s, t, reduction="none") for s, t in zip(
        logits.split(1), targets.split(1), strict=True)])  # fmt: skip
    assert torch.allclose(together, alone) == (not LOSSES[name].couples_rows)


def test_two_way_without_temperature_is_lsep_both_ways() -> None:
    logits, targets = logits_of((4, 4)), torch.eye(4)
    found = two_way_loss(logits, targets, temperature_positive=1, temperature_negative=1)
    expected = lsep_loss(logits, targets) + lsep_loss(logits.T, targets.T)
    torch.testing.assert_close(found, expected)


def test_two_way_is_blind_to_a_shift() -> None:
    logits, targets = logits_of((3, 5)), torch.eye(3, 5)
    temperatures = {"temperature_positive": 2.0, "temperature_negative": 2.0}
    shifted = two_way_loss(logits + 3, targets, **temperatures)
    torch.testing.assert_close(shifted, two_way_loss(logits, targets, **temperatures))
    torch.testing.assert_close(two_way_loss(logits + 3, targets), two_way_loss(logits, targets))


def test_sigmoid_f1_predicts_from_half_of_f1_on() -> None:
    """With expected targets, a decision is worth it from half of the F1 on, as for F1 itself."""
    decided = torch.tensor([[6.0], [5.0], [0.0], [-6.0]], dtype=torch.float64, requires_grad=True)
    for change in (-0.01, 0.01):
        targets = torch.tensor([[0.9], [0.8], [0.0], [0.1]], dtype=torch.float64)
        for _ in range(50):  # F1 depends on the target itself
            half = (1 - sigmoid_f1_loss(decided.detach(), targets)) / 2
            targets[2] = half + change
        (slope,) = torch.autograd.grad(sigmoid_f1_loss(decided, targets), decided)
        assert slope[2] * change < 0


def test_label_without_a_positive_in_the_batch_gets_no_gradient() -> None:
    logits = logits_of((3, 2)).requires_grad_()
    sigmoid_f1_loss(logits, torch.tensor([[1, 0], [0, 0], [1, 0]])).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] != 0).all()
    assert (logits.grad[:, 1] == 0).all()


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_ranges(value: float) -> None:
    logits = torch.zeros(1, 2)
    for name in ("temperature_positive", "temperature_negative"):
        with pytest.raises(ValueError, match=f"^{name} must be above 0"):
            two_way_loss(logits, logits, **{name: value})
    with pytest.raises(ValueError, match="^beta must be above 0"):
        sigmoid_f1_loss(logits, logits, beta=value)
    with pytest.raises(ValueError, match="^eta must be finite"):
        sigmoid_f1_loss(logits, logits, eta=math.inf)
