"""The loss for people who keep a Trainer of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.losses.modules import build_loss


def build_compute_loss_func(
    name: str = "zlpr", *, train_targets: NDArray[Any] | None = None
) -> Callable[..., Tensor]:
    """A ``compute_loss_func`` for people who keep their own Trainer.

    Args:
        name: A name in :data:`zlpr_hf.LOSSES`.
        train_targets: As for :func:`zlpr_hf.build_loss`.

    Returns:
        A function of ``(outputs, labels, num_items_in_batch)`` to pass to
        ``transformers.Trainer(compute_loss_func=...)``. The stock Trainer counts label cells, of
        which an example has ``L``; the function turns that into examples, so every label must be
        known.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> loss = build_compute_loss_func("zlpr")
        >>> loss(SimpleNamespace(logits=torch.zeros(1, 3)), torch.tensor([[1, 0, 0]]))
        tensor(1.7918)
    """
    loss = build_loss(name, reduction="none", train_targets=train_targets)

    def compute_loss_func(
        outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        per_example: Tensor = loss(outputs.logits, labels)
        if num_items_in_batch is None:
            return per_example.mean()
        return per_example.sum() / (num_items_in_batch / labels.shape[-1])

    return compute_loss_func
