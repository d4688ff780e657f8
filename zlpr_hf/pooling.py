"""Mean pooling for stock BERT-like classifiers: an encoder layer that starts out as a mean."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

POOLED_BY_LAYER = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types whose encoder layers have the shape that the layer below relies on, and whose heads
read the first token."""

# How many times the mean of the tokens outweighs the first token in the residual sum. The mean of
# several hundred tokens has a smaller norm than one token, so it must be lifted well above 1.
MEAN_WEIGHT = 4.0


@torch.no_grad()
def append_pooling_layer(model: PreTrainedModel) -> None:
    """Append an encoder layer whose output at every position is the mean of the tokens, and use it.

    Classifiers of the BERT family read the first token, which in a sentence-embedding checkpoint
    carries little. Pooling cannot be changed without a model class of one's own, which would need
    remote code to load elsewhere. An attention layer can be a mean, though: with query weights of
    zero the attention is uniform over the tokens that are not padding; with identity as value and a
    multiple of it as output, the mean goes into the residual sum; a feed-forward block with output
    zero adds nothing. The layer costs one layer's time, and training may turn it into something
    better. The dense layer of the head becomes half the identity, so that its tanh is
    nearly linear.

    Args:
        model: A ``*ForSequenceClassification`` of a type in :data:`POOLED_BY_LAYER`; changed in
            place, ``num_hidden_layers`` grows by one.
    """
    base: Any = model.base_model
    layer = copy.deepcopy(base.encoder.layer[-1])
    attention = layer.attention
    identity = torch.eye(model.config.hidden_size)
    for linear, weight in (
        (attention.self.query, 0 * identity),
        (attention.self.value, identity),
        (attention.output.dense, MEAN_WEIGHT * identity),
    ):
        linear.weight.copy_(weight)
        linear.bias.zero_()
    layer.output.dense.weight.zero_()
    layer.output.dense.bias.zero_()
    for norm in (attention.output.LayerNorm, layer.output.LayerNorm):
        norm.weight.fill_(1.0)
        norm.bias.zero_()
    base.encoder.layer.append(layer)
    model.config.num_hidden_layers += 1
    head: Any = model.classifier if getattr(base, "pooler", None) is None else base.pooler
    head.dense.weight.copy_(identity / 2)
    head.dense.bias.zero_()
