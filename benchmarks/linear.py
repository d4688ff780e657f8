"""A linear classifier on made features, trained with any loss of the package."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf import Thresholds, build_loss, fit_thresholds

Decisions = NDArray[np.bool_]


def fit_predict(
    name: str,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: Tensor,
    *,
    steps: int,
    rate: float = 0.05,
    batch: int,
) -> Decisions:
    """Train with Adam on shuffled batches, and decide at zero; ranking losses get a fitted offset.

    Args:
        name: A loss of the package.
        train: Features ``(N, D)`` and targets ``(N, L)``.
        validation: Features and targets for the offset of ranking losses.
        test: Features to predict.
        steps: Number of steps; the learning rate falls linearly to zero.
        rate: Learning rate.
        batch: Rows per step.
    """
    features, targets = train
    loss = build_loss(name, train_targets=targets.numpy())
    outputs = targets.shape[1] if loss.label_sets is None else len(loss.label_sets.sets)
    head = torch.nn.Linear(features.shape[1], outputs)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        rows = torch.randint(len(features), (min(batch, len(features)),), generator=generator)
        optimizer.zero_grad()
        loss(head(features[rows]), targets[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        logits = head(test)
        if loss.predicts_label_sets:
            return (loss.label_scores(logits) > 0).numpy()
        rule = Thresholds()
        if not loss.decides_at_zero:
            known = head(validation[0]).numpy()
            rule = fit_thresholds(known, validation[1].numpy(), metric="f1_micro")
    return rule.apply(logits.numpy())


def split(features: Tensor, targets: Tensor, sizes: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """Split rows into training, validation and test."""
    parts = [list(torch.split(values, list(sizes))) for values in (features, targets)]
    train, validation, test = zip(*parts, strict=True)
    return train, validation, test
