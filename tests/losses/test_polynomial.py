"""Poly-1 and the robust asymmetric loss: neutral parameters and ranges."""

import math

import pytest
import torch

from tests.losses.functions import logits_of
from zlpr_hf import asymmetric_loss, bce_loss, poly1_loss, robust_asymmetric_loss


def test_neutral_coefficients_give_the_logistic_loss() -> None:
    logits, targets = logits_of((4, 5)), torch.rand(4, 5, dtype=torch.float64)
    torch.testing.assert_close(poly1_loss(logits, targets, epsilon=0), bce_loss(logits, targets))


def test_positive_side_of_ral_is_that_of_asl_with_neutral_coefficients() -> None:
    logits, targets = logits_of((4, 5)), torch.ones(4, 5)
    neutral = robust_asymmetric_loss(logits, targets, gamma_positive=1, epsilon_1=0, epsilon_2=0)
    torch.testing.assert_close(neutral, asymmetric_loss(logits, targets, gamma_positive=1))


def test_ral_makes_likely_negatives_cheaper_than_asl() -> None:
    logits, targets = torch.linspace(-3, 8, 50)[None], torch.zeros(1, 50)
    robust = robust_asymmetric_loss(logits.T, targets.T, reduction="none")
    plain = asymmetric_loss(logits.T, targets.T, reduction="none")
    assert (robust <= plain).all()


@pytest.mark.parametrize("epsilon", [-1.01, math.inf, math.nan])
def test_poly1_refuses(epsilon: float) -> None:
    with pytest.raises(ValueError, match="^epsilon must be"):
        poly1_loss(torch.zeros(1, 2), torch.zeros(1, 2), epsilon=epsilon)


@pytest.mark.parametrize(
    "options",
    [{"gamma_negative": 0.5}, {"gamma_positive": -1}, {"margin": 1}, {"lambd": 0.5},
     {"epsilon_1": 1.1}, {"epsilon_2": -math.inf}],
)  # fmt: skip
def test_ral_refuses(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        robust_asymmetric_loss(torch.zeros(1, 2), torch.zeros(1, 2), **options)
