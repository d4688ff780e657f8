"""What the paper says of ZLPR beyond its value: gradient, minimum, boundary, ranking."""

import torch

from zlpr_hf.functional import zlpr_loss, zlpr_probabilities


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
