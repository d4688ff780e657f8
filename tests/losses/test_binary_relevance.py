"""Margins, parameters and class weights of the binary relevance losses."""

import numpy as np
import pytest
import torch

from tests.losses.functions import logits_of
from zlpr_hf.losses.binary_relevance import asymmetric_loss, bce_loss, focal_loss
from zlpr_hf.losses.modules import WeightedBCELoss
from zlpr_hf.losses.registry import build_loss


def test_a_negative_below_the_margin_costs_asl_nothing() -> None:
    easy = torch.logit(torch.tensor([[0.04, 0.0499]])).requires_grad_()
    loss = asymmetric_loss(easy, torch.zeros(1, 2))
    loss.backward()
    assert loss == 0
    assert easy.grad is not None
    assert (easy.grad == 0).all()


def test_neutral_parameters_give_binary_relevance() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    bce = bce_loss(logits, targets)
    torch.testing.assert_close(focal_loss(logits, targets, gamma=0), bce)
    plain = asymmetric_loss(logits, targets, gamma_negative=0, margin=0)
    torch.testing.assert_close(plain, 5 * bce)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"gamma_negative": 0.5}, "at least 1"), ({"gamma_positive": -1}, "0 or above"),
     ({"margin": 1}, r"\[0, 1\)")],
)  # fmt: skip
def test_parameters_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asymmetric_loss(torch.zeros(1, 2), torch.zeros(1, 2), **options)
    with pytest.raises(ValueError, match="gamma must be 0 or above"):
        focal_loss(torch.zeros(1, 2), torch.zeros(1, 2), gamma=-1)


def test_weights_are_negatives_over_positives() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, np.nan], [0, 0, 1]], dtype=np.float32)
    loss = build_loss("weighted_bce", train_targets=targets)
    assert isinstance(loss, WeightedBCELoss)
    assert loss.positive_weight.tolist() == [3.0, 1.0, pytest.approx(1 / 3)]
    with pytest.raises(ValueError, match="give train_targets"):
        build_loss("weighted_bce")
