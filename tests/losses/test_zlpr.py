"""Properties of ZLPR from the paper: gradient, minimum, threshold, ranking."""

import math

import pytest
import torch

from zlpr_hf.losses.smoothing import SMOOTHING_MODES, smooth_targets
from zlpr_hf.losses.zlpr import (
    zlpr_divergence,
    zlpr_loss,
    zlpr_probabilities,
)


def test_gradient_has_the_papers_closed_form() -> None:
    logits = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(5, 7) < 0.4
    zlpr_loss(logits, targets, reduction="sum").backward()
    s = logits.detach()
    up, down = (-s).exp() * targets, s.exp() * ~targets
    expected = -up / (1 + up.sum(1, keepdim=True)) + down / (1 + down.sum(1, keepdim=True))
    torch.testing.assert_close(logits.grad, expected)


def test_soft_at_zero_and_one_is_the_pairwise_product() -> None:
    """For hard targets the loss is log(1 + sum neg e^s + sum pos e^-s + sum of all pairs)."""
    logits, targets = torch.randn(3, 6, dtype=torch.float64), torch.rand(3, 6) < 0.5
    for s, t in zip(logits, targets, strict=True):
        pairs = sum((torch.exp(a - b) for a in s[~t] for b in s[t]), torch.tensor(0.0))
        expected = torch.log(1 + s[~t].exp().sum() + (-s[t]).exp().sum() + pairs)
        torch.testing.assert_close(zlpr_loss(s, t), expected)


def test_minimum_is_at_half_the_logit_of_the_target() -> None:
    targets = torch.rand(4, 9, dtype=torch.float64).clamp(0.02, 0.98)
    best = (torch.logit(targets) / 2).requires_grad_()
    loss = zlpr_loss(best, targets)
    (gradient,) = torch.autograd.grad(loss, best)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)
    for seed in range(20):
        torch.manual_seed(seed)
        assert zlpr_loss(best + 0.1 * torch.randn_like(best), targets) > loss
    torch.testing.assert_close(zlpr_probabilities(best), targets)


def test_convex_along_random_lines() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        a, b, t = 5 * torch.randn(8), 5 * torch.randn(8), torch.rand(8)
        middle = zlpr_loss((a + b) / 2, t)
        assert middle <= (zlpr_loss(a, t) + zlpr_loss(b, t)) / 2 + 1e-5


def test_probability_crosses_one_half_at_zero() -> None:
    logits = torch.tensor([-1e4, -1e-3, 0.0, 1e-3, 1e4], dtype=torch.float16)
    assert ((zlpr_probabilities(logits) > 0.5) == (logits > 0)).all()
    assert zlpr_probabilities(logits).dtype == torch.float32


def test_no_gradient_into_targets() -> None:
    targets = torch.rand(2, 3, requires_grad=True)
    zlpr_loss(torch.randn(2, 3, requires_grad=True), targets).backward()
    assert targets.grad is None


def test_compiles() -> None:
    logits, targets = torch.randn(4, 5), torch.rand(4, 5)
    compiled = torch.compile(zlpr_loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, targets), zlpr_loss(logits, targets))


def test_training_on_shares_of_raters_recovers_them() -> None:
    """Soft labels from annotators need no rounding: sigmoid(2 s) becomes the share of raters."""
    shares = torch.tensor([[0.2, 0.8, 0.6, 0.4], [1 / 3, 1 / 3, 2 / 3, 0.1]], dtype=torch.float64)
    logits = torch.zeros_like(shares, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = zlpr_loss(logits, shares)
        loss.backward()
        return loss

    optimizer.step(step)
    torch.testing.assert_close(zlpr_probabilities(logits.detach()), shares, atol=1e-5, rtol=0)


class TestDivergence:
    def test_is_the_regret_of_the_soft_loss(self) -> None:
        student, teacher = 3 * torch.randn(2, 40, 6, dtype=torch.float64)
        p = zlpr_probabilities(teacher)
        regret = zlpr_loss(student, p, reduction="none") - zlpr_loss(teacher, p, reduction="none")
        found = zlpr_divergence(student, teacher, reduction="none")
        torch.testing.assert_close(found, regret)

    def test_is_positive_and_zero_only_at_equality(self) -> None:
        torch.manual_seed(0)
        teacher = 3 * torch.randn(200, 5, dtype=torch.float64)
        for scale in (1e-3, 0.1, 1.0, 10.0):
            student = teacher + scale * torch.randn_like(teacher)
            assert (zlpr_divergence(student, teacher, reduction="none") > 0).all()
        assert (zlpr_divergence(teacher, teacher, reduction="none") == 0).all()
        shifted = zlpr_divergence(teacher + 0.5, teacher, reduction="none")
        assert (shifted > 0).all(), "a common shift crosses zero and must cost something"

    def test_student_converges_to_the_teacher(self) -> None:
        teacher = torch.tensor([[2.0, -1.0, 0.3, -4.0]], dtype=torch.float64)
        student = torch.zeros_like(teacher, requires_grad=True)
        optimizer = torch.optim.LBFGS([student], max_iter=500, tolerance_grad=1e-14)

        def step() -> torch.Tensor:
            optimizer.zero_grad()
            value = zlpr_divergence(student, teacher)
            value.backward()
            return value

        optimizer.step(step)
        torch.testing.assert_close(student.detach(), teacher, atol=1e-3, rtol=0)

    def test_gradients_into_both(self) -> None:
        pair = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda p: zlpr_divergence(p[0], p[1]), (pair,))

    def test_extreme_and_masked_logits(self) -> None:
        teacher = torch.tensor([[1e4, -1e4, -torch.inf, 1.0]])
        student = torch.tensor([[-1e4, -1e4, -torch.inf, 1.0]], requires_grad=True)
        value = zlpr_divergence(student, teacher)
        assert value.isfinite()
        (gradient,) = torch.autograd.grad(value, student)
        assert gradient.isfinite().all()
        assert zlpr_divergence(teacher, teacher) == 0

    @pytest.mark.parametrize("mask", [-torch.inf, -1e30])
    def test_a_label_that_only_the_teacher_masks(self, mask: float) -> None:
        """With p = 0 the label adds e^s to the second sum and nothing to the first."""
        teacher = torch.tensor([[mask, 0.0]], dtype=torch.float64)
        student = torch.tensor([[2.0, 0.0]], dtype=torch.float64, requires_grad=True)
        value = zlpr_divergence(student, teacher)
        expected = math.log(1.5 + math.exp(2)) - math.log(1.5)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        assert torch.autograd.grad(value, student)[0].isfinite().all()

    def test_wrong_input_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"same shape.*\(2, 3\) and \(2, 4\)"):
            zlpr_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
        with pytest.raises(ValueError, match="none, mean or sum"):
            zlpr_divergence(torch.zeros(2), torch.zeros(2), reduction="max")


@pytest.mark.parametrize("mode", SMOOTHING_MODES)
class TestSmoothing:
    TARGETS = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, -100.0, torch.nan, 0.5]])

    def test_value_equals_the_formula(self, mode: str) -> None:
        smoothed = smooth_targets(self.TARGETS, 0.2, mode=mode)
        for before, after in zip(self.TARGETS.tolist(), smoothed.tolist(), strict=True):
            known = [t for t in before if t != -100 and t == t]
            levels = {"uniform": 0.5, "positives": 0.0, "mass_preserving": sum(known) / len(known)}
            for t, found in zip(before, after, strict=True):
                if t != -100 and t == t:
                    assert found == pytest.approx(0.8 * t + 0.2 * levels[mode])
                else:
                    assert found == -100 or found != found

    def test_decisions_at_the_optimum_stay(self, mode: str) -> None:
        hard = torch.eye(5, 8, dtype=torch.float64)
        best = torch.logit(smooth_targets(hard, 0.1, mode=mode)) / 2
        assert torch.equal(best > 0, hard > 0.5)

    def test_factor_range_and_no_change_at_zero(self, mode: str) -> None:
        torch.testing.assert_close(
            smooth_targets(self.TARGETS, 0.0, mode=mode), self.TARGETS, equal_nan=True
        )
        assert smooth_targets(torch.eye(3, dtype=torch.int64), 0.1, mode=mode).is_floating_point()
        for factor in (-0.1, 1.0, torch.nan):
            with pytest.raises(ValueError, match=r"label_smoothing_factor: .* \[0, 1\)"):
                smooth_targets(self.TARGETS, factor, mode=mode)
        with pytest.raises(ValueError, match="uniform, mass_preserving, positives, got 'all'"):
            smooth_targets(self.TARGETS, 0.1, mode="all")
