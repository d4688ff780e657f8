"""The size of an encoder, before its weights are loaded."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from zlpr_hf.models.paths import find_model, hub_options


def count_layer_weights(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> int | None:
    """Return the number of weights outside the embeddings; None if only loading would tell.

    Embeddings are left out because those of a multilingual encoder outweigh its layers.
    """
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(find_model(name, revision), **options)
        with torch.device("meta"):
            model: nn.Module = AutoModel.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=trust_remote_code
            )
    except (ImportError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError):
        return None
    embedded = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for weight in module.parameters()
    }
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in embedded)
