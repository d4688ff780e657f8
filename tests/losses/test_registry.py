"""Losses by name: hyper-parameters, facts of their classes, names."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from tests.losses.functions import FUNCTIONS, counts, logits_of
from zlpr_hf import AsymmetricLoss, BCELoss, FocalLoss, LabelSets, PowersetLoss, ZLPRLoss
from zlpr_hf.losses.registry import (
    LOSSES,
    as_multi_label_loss,
    build_compute_loss_func,
    build_loss,
    check_loss,
    loss_class,
    loss_name,
    losses_with,
    render_loss,
)

PARAMETERS: dict[str, dict[str, float]] = {
    "zlpr": {"temperature": 0.5, "positive_weight": 3.0},
    "bce": {"positive_weight": 3.0},
    "focal": {"gamma": 1.0},
    "asymmetric": {"gamma_negative": 2.0, "gamma_positive": 1.0, "margin": 0.2},
    "robust_asymmetric": {
        "gamma_negative": 2.0, "gamma_positive": 1.0, "margin": 0.2, "lambd": 2.0,
        "epsilon_1": 0.5, "epsilon_2": -1.0,
    },
    "poly1": {"epsilon": -0.5},
    "hill": {"lambd": 2.0, "margin": 0.5, "gamma": 1.0},
    "class_balanced": {"beta": 0.5, "lambd": 1.0, "kappa": 0.1, "gamma": 1.0},
    "distribution_balanced": {
        "alpha": 0.2, "beta": 5.0, "mu": 0.5, "lambd": 1.0, "kappa": 0.1, "gamma": 1.0,
    },
    "sigmoid_f1": {"beta": 2.0, "eta": 0.5},
    "two_way": {"temperature_positive": 2.0, "temperature_negative": 0.5},
    "splc": {"tau": 0.7, "margin": 0.5, "gamma": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_hyper_parameters_are_those_of_the_function(name: str) -> None:
    expected = {
        each.name: each.default
        for each in inspect.signature(FUNCTIONS[name]).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.name != "reduction"
    }
    if name == "splc":
        expected["change_epoch"] = 1.0  # the module follows the epochs, the function has none
    assert LOSSES[name].hyper_parameters() == expected


@pytest.mark.parametrize("name", PARAMETERS)
def test_module_passes_its_hyper_parameters_on(name: str) -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    positives, _ = counts(4)
    train_targets = np.arange(100)[:, None] < positives.numpy()
    loss = build_loss(name, train_targets=train_targets, **PARAMETERS[name])
    expected = FUNCTIONS[name](logits, targets, **PARAMETERS[name])
    assert torch.equal(loss(logits, targets), expected)
    plain = build_loss(name, train_targets=train_targets)
    assert not torch.equal(plain(logits, targets), expected)
    assert loss.loss_kwargs() == PARAMETERS[name]
    assert plain.loss_kwargs() == {}
    for key, value in PARAMETERS[name].items():
        assert f"{key}={value}" in repr(loss)


def test_compute_loss_func_takes_hyper_parameters() -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    outputs = type("Outputs", (), {"logits": logits})
    found = build_compute_loss_func("focal", gamma=1.0)(outputs, targets)
    assert torch.equal(found, FocalLoss(gamma=1.0)(logits, targets))


def test_compute_loss_func_needs_no_reduction_of_its_own() -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    outputs = type("Outputs", (), {"logits": logits})
    for reduction in ("none", "mean"):
        found = ZLPRLoss(reduction=reduction)(outputs, targets, num_items_in_batch=24)
        torch.testing.assert_close(found, ZLPRLoss()(logits, targets) / 2)
    with pytest.raises(ValueError, match="expected reduction mean"):
        ZLPRLoss(reduction="sum")(outputs, targets, num_items_in_batch=24)


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: ZLPRLoss(pos_weight=torch.ones(3)), "positive_weight.*WeightedBCELoss"),
        (lambda: BCELoss(pos_weight=2.0), "positive_weight"),
        (lambda: FocalLoss(gama=3), "gamma"),
        (lambda: FocalLoss(alpha=0.25), "expected gamma"),
        (lambda: AsymmetricLoss(gamma_neg=4), "gamma_negative"),
    ],
)
def test_unknown_hyper_parameter_names_the_known_ones(build: Any, names: str) -> None:
    with pytest.raises(TypeError, match=names) as refused:
        build()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "powerset"])
def test_lists_and_arrays_are_refused(name: str) -> None:
    logits, targets = logits_of((3, 4)), torch.eye(3, 4)
    loss = build_loss(name, train_targets=targets.numpy())
    for wrong in (targets.tolist(), targets.numpy()):
        with pytest.raises(TypeError, match="^targets: expected a torch tensor"):
            loss(logits, wrong)
    with pytest.raises(TypeError, match="^logits: expected a torch tensor"):
        loss(logits.detach().numpy(), targets)


def test_class_ids_are_recognised() -> None:
    with pytest.raises(ValueError, match="class ids.*one_hot.*CrossEntropyLoss"):
        ZLPRLoss()(logits_of((3, 4)), torch.tensor([0, 3, 1]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FocalLoss(gamma=-1), "^gamma must be 0 or above, got -1$"),
        (lambda: FocalLoss(gamma=float("inf")), "^gamma must be"),
        (lambda: AsymmetricLoss(gamma_negative=0.5), "^gamma_negative must be 0 or at least 1"),
        (lambda: AsymmetricLoss(margin=1), r"^margin must be in \[0, 1\), got 1$"),
        (lambda: BCELoss(positive_weight=0), "^positive_weight must be above 0, got 0$"),
        (lambda: check_loss("class_balanced", {"beta": 1}), "^loss class_balanced: beta must be"),
        (lambda: build_loss("focal", gamma=-1), "^loss focal: gamma must be"),
        (lambda: build_loss("focal", gama=1), r"^loss focal: .* 'gama'.*\"gamma\""),
        (lambda: build_loss("lsep", gamma=1), "^loss lsep: .* 'gamma'; it has none"),
        (lambda: ZLPRLoss(temperature=0), "^temperature must be above 0, got 0$"),
        (lambda: ZLPRLoss(positive_weight=-1), "^positive_weight must be above 0, got -1$"),
        (lambda: build_loss("focla"), r"^loss must be one of .*got 'focla'.*\"focal\""),
    ],
)
def test_wrong_names_and_ranges_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        build()  # type: ignore[operator]
    assert "\n" not in str(refused.value)


def test_text_as_yaml_reads_it_is_a_number() -> None:
    assert check_loss("focal", {"gamma": "1e-1"}) == {"gamma": 0.1}


def test_facts() -> None:
    assert losses_with("needs_train_targets") == (
        "weighted_bce, class_balanced, distribution_balanced, powerset"
    )
    assert losses_with("has_divergence") == losses_with("supports_large_label_space") == "zlpr"
    assert losses_with("predicts_label_sets") == "powerset"
    assert losses_with("probability_scale") == "zlpr, bce"
    assert set(LOSSES) - set(losses_with("decides_at_zero").split(", ")) == {
        "lsep", "bp_mll", "two_way",
    }  # fmt: skip
    assert losses_with("couples_rows") == "sigmoid_f1, two_way"


@pytest.mark.parametrize("name", ["zlpr", "bce"])
def test_probability_scale_gives_back_soft_targets(name: str) -> None:
    """At the minimum of the loss, sigmoid of the scaled logit is the target."""
    targets = torch.tensor([[0.1, 0.5, 0.8]], dtype=torch.float64)
    scale = LOSSES[name].probability_scale
    assert scale is not None
    best = (torch.logit(targets) / scale).requires_grad_()
    build_loss(name)(best, targets).backward()
    assert best.grad is not None
    torch.testing.assert_close(best.grad, torch.zeros_like(best), atol=1e-12, rtol=0)


def test_subclass_of_the_user_may_have_other_arguments() -> None:
    class Scaled(FocalLoss):
        def __init__(self, *, weights: torch.Tensor, scale: float = 2.0) -> None:
            super().__init__(gamma=1.0)
            self.weights, self.factor = weights, scale

    loss = Scaled(weights=torch.ones(3))
    assert loss_name(loss) == "Scaled"
    assert loss.loss_kwargs() == {}
    assert "reduction='mean'" in repr(loss)


def test_names() -> None:
    class Own(torch.nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (logits - targets).square().mean(-1)

    sets = PowersetLoss(LabelSets(((0,), (1,)), 2))
    assert [loss_name(loss) for loss in (ZLPRLoss(), sets, Own())] == ["zlpr", "powerset", "Own"]
    own = as_multi_label_loss(Own())
    assert loss_name(own) == "Own"
    assert own.loss_kwargs() == {}
    assert torch.equal(own(torch.ones(2, 3), torch.zeros(2, 3)), torch.ones(2))
    assert as_multi_label_loss(sets) is sets
    assert loss_class("focal") is FocalLoss
    assert not loss_class("Own").has_divergence
    assert render_loss("focal", {"gamma": 1.0}) == "focal(gamma=1.0)"
    assert render_loss("zlpr", {}) == "zlpr"
