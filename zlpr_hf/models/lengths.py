"""The longest text that a model can number, and the limit of its tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerBase

NO_LIMIT = 1_000_000
"""Limit of a tokenizer without one: transformers writes 10**30, too large for its own use."""


def limit_to_positions(
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainedConfig,
    *,
    model: nn.Module | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Lower ``model_max_length`` to the number of tokens that the model can number.

    Without ``model``, its layers are built from ``config`` and without weights if they matter.
    """
    tokenizer.model_max_length = int(min(tokenizer.model_max_length, NO_LIMIT))
    text_config: Any = config.get_text_config()
    positions: int = (
        getattr(text_config, "max_position_embeddings", None)
        or getattr(text_config, "max_seq_len", None)  # MPT
        or 0
    )
    # RoBERTa and others number positions from padding_idx + 1, which is pad_token_id + 1.
    surely_free = positions - 1 - (getattr(text_config, "pad_token_id", None) or 0)
    if positions <= 0 or tokenizer.model_max_length <= surely_free:
        return
    if model is None:
        model = _build_without_weights(config, trust_remote_code)
    usable = positions if model is None else _count_usable(model, positions)
    tokenizer.model_max_length = min(tokenizer.model_max_length, usable)


def _build_without_weights(config: PretrainedConfig, trust_remote_code: bool) -> nn.Module | None:
    try:
        with torch.device("meta"):
            auto: Any = AutoModel
            model: nn.Module = auto.from_config(config, trust_remote_code=trust_remote_code)
    except (ImportError, NotImplementedError, RuntimeError, ValueError):
        return None  # loading the model reports why
    return model


def _count_usable(model: nn.Module, positions: int) -> int:
    """Return the positions that texts can use: those after the padding index, if there is one."""
    usable = positions
    for name, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        if "position" in name.rpartition(".")[2] and weight is not None and weight.ndim == 2:
            padding: int | None = getattr(module, "padding_idx", None)
            if padding is not None and len(weight) == positions:
                usable = min(usable, positions - padding - 1)
    return usable
