"""A learning rate of its own for everything outside the encoder."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


def set_head_rate(optimizer: Optimizer, model: Any, rate: float) -> None:
    """Move the parameters outside the encoder to groups with their own learning rate.

    Args:
        optimizer: Of the model's parameters; it is changed.
        model: A model of transformers, perhaps within adapters. Of others nothing tells where the
            encoder ends: they are left as they are.
        rate: The learning rate.
    """
    if hasattr(model, "get_base_model"):  # low-rank adapters wrap the model
        model = model.get_base_model()
    if not hasattr(model, "base_model"):
        return
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    for group in list(optimizer.param_groups):
        head = [parameter for parameter in group["params"] if id(parameter) not in encoder]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) in encoder]
        if head:
            optimizer.add_param_group({**group, "params": head, "lr": rate})
