"""Hill and SPLC: negatives that may be missing labels."""

import math

import pytest
import torch

from tests.losses.functions import logits_of
from zlpr_hf import HillLoss, SPLCLoss, hill_loss, splc_loss
from zlpr_hf.losses.registry import build_loss


def test_hill_pushes_likely_negatives_less() -> None:
    logits = torch.tensor([[0.0, 2.0, 6.0]], requires_grad=True)
    hill_loss(logits, torch.zeros(1, 3)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > logits.grad[0, 1] > logits.grad[0, 2] > 0


def test_splc_trains_confident_negatives_as_positives() -> None:
    logits = torch.tensor([[0.3, 0.5]], requires_grad=True)  # sigmoid 0.574 and 0.622
    splc_loss(logits, torch.zeros(1, 2)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0 > logits.grad[0, 1]


def test_splc_corrects_nothing_before_its_epoch() -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    plain = splc_loss(logits, targets, tau=1.0)
    corrected = splc_loss(logits, targets)
    loss = SPLCLoss(change_epoch=1.5)
    assert loss(logits, targets) == corrected  # the epoch is not set
    for epoch, expected in ((0.0, plain), (1.49, plain), (1.5, corrected), (3.0, corrected)):
        loss.epoch = epoch
        assert loss(logits, targets) == expected
    assert loss.loss_kwargs() == {"change_epoch": 1.5}


def test_without_correction_and_margin_splc_is_a_focal_loss() -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    plain = splc_loss(logits, targets, tau=1.0, margin=0.0)
    torch.testing.assert_close(plain, 4 * build_loss("focal")(logits, targets))
    sharp = splc_loss(logits, targets, tau=1.0, margin=0.0, gamma=0.0)
    torch.testing.assert_close(sharp, 4 * build_loss("bce")(logits, targets))


@pytest.mark.parametrize("options", [{"lambd": 0.9}, {"margin": -1}, {"gamma": math.inf}])
def test_hill_refuses(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        HillLoss(**options)


@pytest.mark.parametrize(
    "options", [{"tau": 0}, {"tau": 1.1}, {"margin": -1}, {"gamma": -1}, {"change_epoch": -1}]
)
def test_splc_refuses(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        SPLCLoss(**options)
