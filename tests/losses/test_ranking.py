"""ZLPR as a ranking loss with a label at zero, and ranking losses without a threshold."""

import pytest
import torch

from tests.losses.functions import FUNCTIONS, logits_of
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.losses.zlpr import zlpr_loss


def test_zlpr_is_lsep_with_a_label_at_zero() -> None:
    """ZLPR ranks a label at zero below the positives and above the negatives."""
    logits, targets = logits_of((3, 5)), torch.eye(3, 5)
    zero = torch.zeros(3, 1, dtype=logits.dtype)
    both = torch.log1p((-logits).exp().mul(targets).sum(1)) + torch.log1p(
        logits.exp().mul(1 - targets).sum(1)
    )
    product = (torch.cat([-logits, zero], 1).exp() * torch.cat([targets, zero + 1], 1)).sum(1) * (
        torch.cat([logits, zero], 1).exp() * torch.cat([1 - targets, zero + 1], 1)
    ).sum(1)
    torch.testing.assert_close(both, product.log())
    torch.testing.assert_close(zlpr_loss(logits, targets, reduction="none"), both)


@pytest.mark.parametrize("name", ["lsep", "bp_mll"])
def test_ranking_losses_do_not_decide_at_zero(name: str) -> None:
    assert not LOSSES[name].decides_at_zero
    if name == "lsep":  # blind to a shift of all logits
        logits, targets = logits_of((3, 5)), torch.eye(3, 5)
        shifted = FUNCTIONS[name](logits + 3, targets)
        torch.testing.assert_close(shifted, FUNCTIONS[name](logits, targets))
