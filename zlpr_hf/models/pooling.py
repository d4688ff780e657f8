"""Pooling: which one a checkpoint was trained for, and the mean as a layer of a stock encoder."""

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
"""Model types whose encoder layers have the shape that the layer below relies on, and whose heads
read the first token."""

SENTENCE_POOLING = "1_Pooling/config.json"
"""Where sentence-transformers keeps how a checkpoint pools."""

# How many times the mean of the tokens outweighs the first token in the residual sum. The mean of
# several hundred tokens has a smaller norm than one token, so it must be lifted well above 1.
MEAN_WEIGHT = 4.0


def find_pooling(
    name: str, config: PretrainedConfig, *, revision: str | None = None
) -> Literal["first", "mean"]:
    """The pooling that a checkpoint was trained for.

    It is looked for in what this package has written into ``config.json``, in
    ``classifier_pooling`` (ModernBERT has it), and in the file of sentence-transformers beside the
    checkpoint.

    Args:
        name: Hub id or folder of the checkpoint.
        config: Its configuration.
        revision: Branch, tag or commit on the Hub.

    Returns:
        ``mean``, or ``first`` where nothing says so or the mean cannot be had.

    Raises:
        ValueError: If that file is no JSON object.
    """
    written = ZLPRConfig.read(config).pooling
    known = written or getattr(config, "classifier_pooling", None)
    if known is None and config.model_type in POOLED_BY_LAYER:
        path = _beside(name, SENTENCE_POOLING, revision)
        stored = {} if path is None else _read(path)
        known = "mean" if stored.get("pooling_mode_mean_tokens") else stored.get("pooling_mode")
    return "mean" if known == "mean" else "first"


def _beside(name: str, file: str, revision: str | None) -> Path | None:
    folder = Path(name)
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (EntryNotFoundError, HfHubHTTPError):
        return None  # there is none, or no network and none in the cache


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
