"""Pooling: the one a checkpoint was trained with, and the mean as a layer of a stock encoder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from transformers import PretrainedConfig, PreTrainedModel

from zlpr_hf.zlpr_config import ZLPRConfig

POOLED_BY_LAYER = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types whose heads read the first token, and whose layers `append_pooling_layer` knows."""

SENTENCE_POOLING = "1_Pooling/config.json"
"""Where sentence-transformers stores the pooling of a checkpoint."""

# Weight of the mean over the tokens relative to the first token in the residual sum. The mean of
# several hundred tokens has a smaller norm than one token, so the weight is well above 1.
MEAN_WEIGHT = 4.0


def find_pooling(
    name: str, config: PretrainedConfig, *, revision: str | None = None
) -> Literal["first", "mean"]:
    """Return the pooling that a checkpoint was trained with.

    It is read from ``classifier_pooling`` (ModernBERT), else from the ``zlpr`` entry of
    ``config.json``, else from the file of sentence-transformers beside the checkpoint; the
    default is ``first``.

    Raises:
        ValueError: If that file is not a JSON object.
    """
    known = getattr(config, "classifier_pooling", None) or ZLPRConfig.read(config).pooling
    if known is None and config.model_type in POOLED_BY_LAYER:
        path = _find_beside(name, SENTENCE_POOLING, revision)
        stored = {} if path is None else _read(path)
        known = "mean" if stored.get("pooling_mode_mean_tokens") else stored.get("pooling_mode")
    return "mean" if known == "mean" else "first"


def _find_beside(name: str, file: str, revision: str | None) -> Path | None:
    folder = Path(name)
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (EntryNotFoundError, HfHubHTTPError):
        return None  # no such file, or no network and no cached copy


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{SENTENCE_POOLING} is not JSON: {error}") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{SENTENCE_POOLING}: expected an object, got {stored!r:.80}")
    return stored


@torch.no_grad()
def append_pooling_layer(model: PreTrainedModel) -> None:
    """Append an encoder layer whose output is the mean of the tokens, at every position.

    Classifiers of the BERT family read the first token, which carries little in a
    sentence-embedding checkpoint. Another pooling would need a model class of our own, and that
    remote code wherever the model is loaded. An attention layer can compute a mean instead: with
    query weights of zero it attends uniformly to all tokens except padding; with the identity as
    value and a multiple of it as output, the mean enters the residual sum; a feed-forward block
    with output zero adds nothing. The dense layer of the head becomes half the identity, so that
    its tanh is nearly linear. The layer costs the time of one layer and stays trainable.

    Args:
        model: A ``*ForSequenceClassification`` of a type in `POOLED_BY_LAYER`; changed in place,
            ``num_hidden_layers`` grows by one.
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


def needs_added_layer(config: PretrainedConfig) -> bool:
    """Whether mean pooling is a layer of its own, for lack of a switch in the configuration."""
    return not hasattr(config, "classifier_pooling")


def has_added_layer(config: PretrainedConfig) -> bool:
    """Whether a model has the layer of `append_pooling_layer`, which its encoder lacks."""
    return ZLPRConfig.read(config).pooling == "mean" and needs_added_layer(config)
