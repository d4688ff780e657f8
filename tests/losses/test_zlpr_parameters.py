"""ZLPR with a temperature and with weights of positive labels."""

import math
from typing import Any

import pytest
import torch

from tests.losses.functions import logits_of
from zlpr_hf import ZLPRLoss, ZLPRTrainingArguments, zlpr_loss

WEIGHTS = [1.0, 3.0, 0.5, 2.0]
CASES = {
    "hard": [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]],
    "soft": [[0.3, 0.9, 0.01, 0.5], [1.0, 0.0, 0.25, 0.75]],
    "unknown": [[1.0, -100.0, 0.0, math.nan], [-100.0] * 4],
}


def formula(
    logits: list[float], targets: list[float], temperature: float, weights: list[float]
) -> float:
    cells = [
        (s / temperature, t, w)
        for s, t, w in zip(logits, targets, weights, strict=True)
        if t != -100 and t == t
    ]
    up = sum(w * t * math.exp(-s) for s, t, w in cells)
    down = sum((1 - t) * math.exp(s) for s, t, _ in cells)
    return temperature * (math.log(1 + up) + math.log(1 + down))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("weight", [1.0, 5.0, torch.tensor(WEIGHTS)])
def test_value_and_gradient(case: str, temperature: float, weight: Any) -> None:
    logits, targets = logits_of((2, 4)).requires_grad_(), CASES[case]
    weights = weight.tolist() if isinstance(weight, torch.Tensor) else [weight] * 4
    options = {"temperature": temperature, "positive_weight": weight}
    truth = torch.tensor(targets, dtype=torch.float64)
    expected = [
        formula(s, t, temperature, weights) for s, t in zip(logits.tolist(), targets, strict=True)
    ]
    found = zlpr_loss(logits, truth, reduction="none", **options)
    assert found.tolist() == pytest.approx(expected, rel=1e-10)
    for loss in (
        lambda values: zlpr_loss(values, truth, **options),
        lambda values: ZLPRLoss(**options)(values, truth),
    ):
        assert torch.autograd.gradcheck(loss, logits)
        assert torch.autograd.gradgradcheck(loss, logits)


def test_low_temperature_trains_on_the_worst_label_of_each_side() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, -3.0]], requires_grad=True)
    loss = zlpr_loss(logits, torch.tensor([[1, 1, 0, 0]]), temperature=0.01)
    loss.backward()
    assert loss.item() == pytest.approx(1.5)
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, -1.0, 1.0, 0.0]]))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_far_logits_and_half_precision(temperature: float) -> None:
    for weight in (1.0, 4.0):
        logits = torch.tensor([[-1e4, 1e4, 1e4]], requires_grad=True)
        options = {"temperature": temperature, "positive_weight": weight}
        loss = zlpr_loss(logits, torch.tensor([[1, 0, 0]]), **options)
        (gradient,) = torch.autograd.grad(loss, logits)
        torch.testing.assert_close(gradient, torch.tensor([[-1.0, 0.5, 0.5]]))
        half = logits_of((3, 5)).to(torch.bfloat16)
        value = zlpr_loss(half, torch.eye(3, 5), **options)
        torch.testing.assert_close(value, zlpr_loss(half.float(), torch.eye(3, 5), **options))


@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
def test_weight_moves_the_probability_at_zero(weight: float) -> None:
    logit = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    target = torch.full((1, 1), 1 / (1 + weight), dtype=torch.float64)
    zlpr_loss(logit, target, positive_weight=weight).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0, abs=1e-12)


def test_weights_move_with_the_module_and_are_not_stored() -> None:
    loss = ZLPRLoss(positive_weight=torch.tensor(WEIGHTS))
    assert "positive_weight" in dict(loss.named_buffers())
    assert loss.loss_kwargs() == {}


@pytest.mark.parametrize("loss_kwargs", [{"temperature": 2.0}, {"positive_weight": 2.0}])
def test_options_that_need_the_plain_loss_are_refused(
    loss_kwargs: dict[str, float], tmp_path: Any
) -> None:
    assert ZLPRLoss().has_divergence
    assert ZLPRLoss().supports_large_label_space
    changed = ZLPRLoss(**loss_kwargs)
    assert not changed.has_divergence
    assert not changed.supports_large_label_space
    for option in ({"rdrop_alpha": 1.0}, {"large_label_space": True}):
        with pytest.raises(ValueError, match=f"^{next(iter(option))}: .*zlpr.*=2.0"):
            ZLPRTrainingArguments(output_dir=str(tmp_path), loss_kwargs=loss_kwargs, **option)
