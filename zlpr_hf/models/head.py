"""The classification head: the last linear layer of a classifier, with one row per output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def classification_head(model: PreTrainedModel) -> nn.Linear:
    """Return the last linear layer with as many outputs as the model.

    Raises:
        ValueError: If the model has no such layer.
    """
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not heads:
        raise ValueError(f"{type(model).__name__} has no linear head for its labels")
    return heads[-1]


def has_bias(model: Any) -> bool:
    """Whether the head of a model has a bias, which can hold offsets."""
    try:
        return classification_head(model).bias is not None
    except ValueError:
        return False


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a layer compute another function for a while.

    With the identity for the head, ``logits`` of a model are the features that its head reads, also
    of decoders, which select the last token after the head.
    """
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


@contextmanager
def kept_head_inputs(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collect the features that the head reads, with their gradients, for a while."""
    kept: list[Tensor] = []
    handle = classification_head(model).register_forward_pre_hook(
        lambda _, given: kept.append(given[0])
    )
    try:
        yield kept
    finally:
        handle.remove()


def join_replicas(kept: Sequence[Tensor]) -> Tensor:
    """Return the features of a whole batch, of which ``nn.DataParallel`` gives each GPU a part.

    The GPUs finish in any order; the parts of the batch are in the order of their numbers.
    """
    if len(kept) == 1:
        return kept[0]
    ordered = sorted(kept, key=lambda part: part.get_device())
    return torch.cat([part.to(ordered[0].device) for part in ordered])


def of_last_token(features: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return one feature per text ``(B, H)``: of ``(B, T, H)``, that of the last token.

    A decoder's head reads all tokens, and the logits of the last one count.
    """
    if features.ndim == 2:
        return features
    if attention_mask is None:
        return features[:, -1]
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1)
    return features[torch.arange(len(features), device=features.device), last]


def encoder_parameters(model: Any) -> set[int]:
    """Return the ids of the parameters of the encoder, without a head inside it (Perceiver)."""
    found = {id(parameter) for parameter in model.base_model.parameters()}
    try:
        return found - {id(parameter) for parameter in classification_head(model).parameters()}
    except (AttributeError, ValueError):  # a model of the user's own
        return found


def without_adapters(model: Any) -> Any:
    """Return the model inside LoRA adapters, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def reshard(model: Any) -> None:
    """Return parameters that FSDP gathered for a pass to their shards, which are what is saved."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def draw_rows(head: nn.Linear, count: int, config: Any) -> tuple[Tensor, Tensor | None]:
    """Return weights and biases of ``count`` new rows, as transformers initialises them."""
    weight = head.weight.new_empty(count, head.in_features)
    nn.init.normal_(weight, std=getattr(config, "initializer_range", 0.02))
    return weight, None if head.bias is None else head.bias.new_zeros(count)


def reset_head(model: PreTrainedModel) -> None:
    """Draw the weights of the head anew."""
    head = classification_head(model)
    weight, bias = draw_rows(head, head.out_features, model.config)
    head.weight.data.copy_(weight)
    if bias is not None:  # decoders such as GPT-2 have none
        head.bias.data.copy_(bias)
