"""Every loss as a function of ``(logits, targets)``, with fixed weights and all label sets."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zlpr_hf.labels import LabelSets
from zlpr_hf.losses import (
    balanced,
    batch_wise,
    binary_relevance,
    missing_labels,
    polynomial,
    ranking,
    zlpr,
)
from zlpr_hf.losses.powerset import powerset_loss

WEIGHTS = torch.tensor([1.0, 3.0, 0.5, 2.0, 7.0, 1.5], dtype=torch.float64)


def weighted_bce(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    weights = WEIGHTS[: logits.shape[-1]].to(logits)
    return binary_relevance.bce_loss(logits, targets, positive_weight=weights, **options)


def counts(num_labels: int) -> tuple[Tensor, Tensor]:
    """Positive and negative training texts of each label, of 100 texts."""
    positives = 10 * WEIGHTS[:num_labels]
    return positives, 100 - positives


def with_counts(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss of frequencies as a function of ``(logits, targets)``."""

    def loss(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        both = (count.to(logits.device) for count in counts(logits.shape[-1]))
        return function(logits, targets, *both, **options)

    loss.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return loss


def all_sets(num_labels: int) -> LabelSets:
    labels = range(num_labels)
    sets = [c for size in range(num_labels + 1) for c in itertools.combinations(labels, size)]
    return LabelSets(tuple(sets), num_labels)


def set_logits(logits: Tensor) -> Tensor:
    """Score every set by the sum of its labels' scores."""
    members = torch.from_numpy(all_sets(logits.shape[-1]).members()).to(logits.device)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # as exact as the loss
    return torch.where(members, wide.unsqueeze(-2), 0.0).sum(-1)


def powerset(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    members = torch.from_numpy(all_sets(targets.shape[-1]).members())
    return powerset_loss(set_logits(logits), targets, members, **options)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "zlpr": zlpr.zlpr_loss,
    "bce": binary_relevance.bce_loss,
    "weighted_bce": weighted_bce,
    "focal": binary_relevance.focal_loss,
    "asymmetric": binary_relevance.asymmetric_loss,
    "robust_asymmetric": polynomial.robust_asymmetric_loss,
    "poly1": polynomial.poly1_loss,
    "class_balanced": with_counts(balanced.class_balanced_loss),
    "distribution_balanced": with_counts(balanced.distribution_balanced_loss),
    "hill": missing_labels.hill_loss,
    "splc": missing_labels.splc_loss,
    "sigmoid_f1": batch_wise.sigmoid_f1_loss,
    "powerset": powerset,
    "two_way": batch_wise.two_way_loss,
    "lsep": ranking.lsep_loss,
    "bp_mll": ranking.bp_mll_loss,
}


def logits_of(shape: tuple[int, ...], *, scale: float = 2.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)
