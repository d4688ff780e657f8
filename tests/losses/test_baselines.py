"""What sets each of the compared losses apart."""

import numpy as np
import pytest
import torch

from tests.losses.functions import FUNCTIONS, logits_of
from zlpr_hf.losses import baselines
from zlpr_hf.losses import zlpr as functional
from zlpr_hf.losses.modules import LOSSES, WeightedBCELoss, build_loss


def test_zlpr_is_lsep_with_a_label_at_zero() -> None:
    """Rank a label at zero below the positives and above the negatives: that is all of ZLPR."""
    logits, targets = logits_of((3, 5)), torch.eye(3, 5)
    zero = torch.zeros(3, 1, dtype=logits.dtype)
    both = torch.log1p((-logits).exp().mul(targets).sum(1)) + torch.log1p(
        logits.exp().mul(1 - targets).sum(1)
    )
    product = (torch.cat([-logits, zero], 1).exp() * torch.cat([targets, zero + 1], 1)).sum(1) * (
        torch.cat([logits, zero], 1).exp() * torch.cat([1 - targets, zero + 1], 1)
    ).sum(1)
    torch.testing.assert_close(both, product.log())
    torch.testing.assert_close(functional.zlpr_loss(logits, targets, reduction="none"), both)


@pytest.mark.parametrize("name", ["lsep", "bp_mll"])
def test_ranking_losses_leave_zero_to_others(name: str) -> None:
    assert not LOSSES[name].decides_at_zero
    if name == "lsep":  # blind to a shift of all logits
        logits, targets = logits_of((3, 5)), torch.eye(3, 5)
        shifted = FUNCTIONS[name](logits + 3, targets)
        torch.testing.assert_close(shifted, FUNCTIONS[name](logits, targets))


def test_a_negative_below_the_margin_costs_asl_nothing() -> None:
    easy = torch.logit(torch.tensor([[0.04, 0.0499]])).requires_grad_()
    loss = baselines.asymmetric_loss(easy, torch.zeros(1, 2))
    loss.backward()
    assert loss == 0
    assert easy.grad is not None
    assert (easy.grad == 0).all()


def test_simple_parameters_give_binary_relevance_back() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    bce = baselines.bce_loss(logits, targets)
    torch.testing.assert_close(baselines.focal_loss(logits, targets, gamma=0), bce)
    plain = baselines.asymmetric_loss(logits, targets, gamma_negative=0, margin=0)
    torch.testing.assert_close(plain, 5 * bce)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"gamma_negative": 0.5}, "at least 1"), ({"gamma_positive": -1}, "0 or above"),
     ({"margin": 1}, r"\[0, 1\)")],
)  # fmt: skip
def test_parameters_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        baselines.asymmetric_loss(torch.zeros(1, 2), torch.zeros(1, 2), **options)
    with pytest.raises(ValueError, match="gamma must be 0 or above"):
        baselines.focal_loss(torch.zeros(1, 2), torch.zeros(1, 2), gamma=-1)


def test_weights_are_negatives_over_positives() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, np.nan], [0, 0, 1]], dtype=np.float32)
    loss = build_loss("weighted_bce", train_targets=targets)
    assert isinstance(loss, WeightedBCELoss)
    assert loss.positive_weight.tolist() == [3.0, 1.0, pytest.approx(1 / 3)]
    with pytest.raises(ValueError, match="give train_targets"):
        build_loss("weighted_bce")
