"""A model with some of the layers of a trained one: the start of a smaller, faster student."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from zlpr_hf.errors import InputError
from zlpr_hf.models.pooling import has_added_layer


def keep_layers(model: PreTrainedModel, count: int) -> None:
    """Keep ``count`` layers of the encoder, from the first to the last at even distances.

    The layer that pooling mean adds stays too and does not count. The model remains a stock one,
    whose configuration has fewer layers.

    Args:
        model: A stock sequence classifier; changed in place.
        count: Number of layers to keep, at least 1.

    Raises:
        InputError: If the encoder has fewer layers, or shares one, as ALBERT does.

    References:
        Shleifer and Rush: Pre-trained Summarization Distillation, 2020.
    """
    config: Any = model.config
    added = int(has_added_layer(config))
    depth = config.num_hidden_layers - added
    if count > depth:
        raise InputError(f"keep_layers: expected 1 to {depth} ({config.model_type}), got {count}")
    kept = [round(float(place)) for place in np.linspace(0, depth - 1, count)]
    kept += [depth] * added
    owners = [
        (owner, name)
        for owner in model.base_model.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == depth + added
    ]
    if len(owners) != 1:
        raise InputError(f"keep_layers: not supported for {config.model_type}")
    ((owner, name),) = owners
    layers = [getattr(owner, name)[place] for place in kept]
    setattr(owner, name, nn.ModuleList(layers))
    for place, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[place] for place in kept]
    config.num_hidden_layers = len(kept)
