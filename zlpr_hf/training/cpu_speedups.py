"""Faster training with ``cpu_speedups``: in the model's own modules, and undone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.models.head import without_adapters
from zlpr_hf.training.dropout import drop

MAX_PLAIN_ATTENTION_TOKENS = 128
"""Tokens up to which a CPU is faster without fused attention."""

PLAIN_ATTENTION = "zlpr_plain"
"""Name of :func:`attend_plainly` in transformers' registry of attention functions."""

PLAIN_ATTENTION_TYPES = (
    "albert", "bert", "camembert", "distilbert", "electra", "ernie", "roberta", "xlm-roberta",
)  # fmt: skip
"""Model types whose eager attention is softmax, dropout and two products, and nothing else."""


@contextmanager
def speed_up_training(model: Any, *, on_cpu: bool, max_length: int | None) -> Iterator[None]:
    """Train a model faster by changing its own modules, and undo all changes afterwards.

    Unused tokens are skipped in the last layer (:mod:`zlpr_hf.models.first_token`). On a CPU,
    ``nn.Dropout`` layers draw fewer random bits (:mod:`zlpr_hf.training.dropout`), and texts of up
    to 128 tokens use plain attention. ``max_length`` is None where it is unknown.
    """
    with ExitStack() as stack:
        stack.enter_context(first_token_only(model))
        if on_cpu:
            stack.enter_context(_fast_dropout_layers(model))
        if on_cpu and max_length is not None and max_length <= MAX_PLAIN_ATTENTION_TOKENS:
            stack.enter_context(_plain_attention(model))
        yield


@contextmanager
def _fast_dropout_layers(model: nn.Module) -> Iterator[None]:
    """Replace ``forward`` of each dropout layer.

    The layers are changed and not torch's dispatch: torch modes are off in the backward pass, where
    activation checkpointing computes layers again and must find the same masks.
    """
    layers = [
        layer
        for layer in model.modules()
        if type(layer) is nn.Dropout and "forward" not in vars(layer)
    ]
    try:
        for layer in layers:
            layer.forward = partial(_drop, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _drop(layer: nn.Dropout, values: Tensor) -> Tensor:
    return drop(values, layer.p, training=layer.training, inplace=layer.inplace)


@contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Switch the model from torch's fused attention, which is slow on a CPU with dropout."""
    model = without_adapters(model)
    config = getattr(model, "config", None)
    before = getattr(config, "_attn_implementation", None)
    if before != "sdpa" or getattr(config, "model_type", None) not in PLAIN_ATTENTION_TYPES:
        yield
        return
    # transformers cannot forget a name; this one is used by models in training here and no other.
    AttentionInterface.register(PLAIN_ATTENTION, attend_plainly)
    AttentionMaskInterface.register(PLAIN_ATTENTION, eager_mask)
    try:
        model.set_attn_implementation(PLAIN_ATTENTION)
        yield
    finally:
        model.set_attn_implementation(before)


def attend_plainly(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Compute attention as transformers' eager functions do, with the faster dropout."""
    scaling = query.size(-1) ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(-1), dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights
