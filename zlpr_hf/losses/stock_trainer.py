"""The loss of a batch in transformers' own Trainer, exact under gradient accumulation."""

from __future__ import annotations

import torch
from torch import Tensor

from zlpr_hf.labels import IGNORE_INDEX


def share_of_step(per_example: Tensor, labels: Tensor, num_items: Tensor | int | None) -> Tensor:
    """Return the share of a batch in the mean over all examples of an optimizer step.

    Args:
        per_example: Loss of each example, ``(B,)``.
        labels: Targets ``(B, L)``, as the Trainer counted them.
        num_items: Label cells of the whole step other than ``-100``; None for this batch alone.

    Raises:
        ValueError: If a label is ``-100`` in training, so that the number of examples is unknown.
    """
    if num_items is None:
        return per_example.mean()
    return per_example.sum() / _count_examples(labels, torch.as_tensor(num_items))


def _count_examples(labels: Tensor, num_items: Tensor) -> Tensor:
    """Return the divisor of a batch from the label cells that the stock Trainer counted.

    With several GPUs in one process the count has one entry per GPU, and the Trainer multiplies
    the loss by their number.
    """
    devices = max(1, num_items.numel())
    cells, num_labels = num_items.flatten()[0], labels.shape[-1]
    counted = (labels != IGNORE_INDEX).sum()
    if counted < labels.numel() and not torch.is_grad_enabled() and cells == counted:
        cells = torch.as_tensor(labels.numel())  # an evaluated batch counts all of its rows
    elif counted < labels.numel() or cells % num_labels:
        raise ValueError(
            "compute_loss_func: expected NaN for unknown labels, got -100, which the stock Trainer "
            "leaves out when it counts examples; use NaN or ZLPRTrainer"
        )
    return cells * devices / num_labels
