"""Losses balanced by frequency: counts, weights, shift and ranges."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.losses.functions import counts, logits_of
from zlpr_hf import (
    ClassBalancedLoss,
    DistributionBalancedLoss,
    class_balanced_loss,
    distribution_balanced_loss,
    focal_loss,
)
from zlpr_hf.losses.registry import build_loss

BOTH = ["class_balanced", "distribution_balanced"]


@pytest.mark.parametrize("name", BOTH)
def test_counts_are_those_of_known_targets(name: str) -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, np.nan, 1], [0.6, -100, 1]], dtype=np.float32)
    loss: Any = build_loss(name, train_targets=targets)
    assert loss.positives.tolist() == [2, 0, 4]
    assert loss.negatives.tolist() == [2, 2, 0]
    value = loss(torch.zeros(1, 3, requires_grad=True), torch.tensor([[1, 0, 1]]))
    assert value.isfinite()  # a label that is never or always there


def test_neutral_parameters_give_the_focal_loss() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    plain = focal_loss(logits, targets)
    neutral = {"lambd": 1.0, "kappa": 0.0}
    found = class_balanced_loss(logits, targets, *counts(5), beta=0.0, **neutral)
    torch.testing.assert_close(found, plain)
    found = distribution_balanced_loss(logits, targets, *counts(5), alpha=0.5, beta=0.0, **neutral)
    torch.testing.assert_close(found, plain)


def test_rare_labels_weigh_more() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    positives, negatives = torch.tensor([100, 5]), torch.tensor([900, 995])
    for loss in (
        DistributionBalancedLoss(positives, negatives),
        ClassBalancedLoss(positives, negatives),
    ):
        (slope,) = torch.autograd.grad(loss(logits, torch.tensor([[1, 1]])), logits)
        assert slope[0, 1] < slope[0, 0] < 0


def test_gradient_of_negatives_fades_early() -> None:
    """The tolerance: with the same score, a negative below zero is pushed less."""
    positives, negatives = torch.tensor([10]), torch.tensor([90])
    logits = torch.tensor([[-3.0]], requires_grad=True)
    slopes = []
    for lambd in (1.0, 2.0):
        loss = class_balanced_loss(
            logits, torch.zeros(1, 1), positives, negatives, lambd=lambd, gamma=0
        )
        slopes += [torch.autograd.grad(loss, logits)[0].item()]
    assert 0 < slopes[1] < slopes[0] / 10


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "options",
    [{"beta": -0.1}, {"beta": math.nan}, {"lambd": 0}, {"kappa": -1}, {"gamma": -1},
     {"alpha": -1}, {"mu": math.inf}],
)  # fmt: skip
def test_ranges(name: str, options: dict[str, float]) -> None:
    (option,) = options
    if name == "class_balanced" and option in ("alpha", "mu"):
        options, option = {"beta": 1.0}, "beta"
    with pytest.raises(ValueError, match=f"^loss {name}: {option} must be"):
        build_loss(name, train_targets=np.eye(2), **options)


@pytest.mark.parametrize("loss", [class_balanced_loss, distribution_balanced_loss])
def test_counts_of_another_number_of_labels_are_refused(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"one count per label \(3,\), got \(2,\) and \(3,\)"):
        loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(2), torch.ones(3))
    with pytest.raises(TypeError, match="^positives: expected a torch tensor"):
        loss(torch.zeros(1, 2), torch.zeros(1, 2), [1, 2], torch.ones(2))
