"""Every loss as a function of logits and targets, and logits to call them with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zlpr_hf.labels import LabelSets
from zlpr_hf.losses import baselines
from zlpr_hf.losses import zlpr as functional
from zlpr_hf.losses.powerset import powerset_loss

WEIGHTS = torch.tensor([1.0, 3.0, 0.5, 2.0, 7.0, 1.5], dtype=torch.float64)


def weighted_bce(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    weights = WEIGHTS[: logits.shape[-1]].to(logits.dtype)
    return baselines.bce_loss(logits, targets, positive_weight=weights, **options)


def all_sets(num_labels: int) -> LabelSets:
    labels = range(num_labels)
    sets = [c for size in range(num_labels + 1) for c in itertools.combinations(labels, size)]
    return LabelSets(tuple(sets), num_labels)


def set_logits(logits: Tensor) -> Tensor:
    """A score for every set there is: the sum of its labels' scores."""
    members = torch.from_numpy(all_sets(logits.shape[-1]).members())
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # as exact as the loss
    return torch.where(members, wide.unsqueeze(-2), 0.0).sum(-1)


def powerset(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
    members = torch.from_numpy(all_sets(targets.shape[-1]).members())
    return powerset_loss(set_logits(logits), targets, members, **options)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "zlpr": functional.zlpr_loss,
    "bce": baselines.bce_loss,
    "weighted_bce": weighted_bce,
    "focal": baselines.focal_loss,
    "asymmetric": baselines.asymmetric_loss,
    "powerset": powerset,
    "lsep": baselines.lsep_loss,
    "bp_mll": baselines.bp_mll_loss,
}


def logits_of(shape: tuple[int, ...], *, scale: float = 2.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)
