"""A bias for heads that have none, such as those of decoders: it holds offsets of the labels."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from zlpr_hf.errors import InputError
from zlpr_hf.models.head import classification_head, without_adapters
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)


def add_head_bias(model: PreTrainedModel, option: str) -> None:
    """Give the head a bias of zeros if it has none, for an option whose offsets need one.

    ``save_pretrained`` writes it with the other weights, and the loaders of this package read it.
    Classes of transformers have no place for it and report it as unexpected, so a warning says so,
    and ``config.json`` names it (``head_bias``).
    """
    head = classification_head(model)
    if head.bias is not None:
        return
    _set_bias(model, head.weight.new_zeros(head.out_features))
    kind, note = type(without_adapters(model)).__name__, ZLPRConfig.read(model.config).render_bias()
    logger.warning("%s has no bias in its head, and %s needs one. %s", kind, option, note)


def restore_head_bias(
    model: PreTrainedModel, path: str, loading: Mapping[str, Any], *, revision: str | None = None
) -> None:
    """Load the added bias of a checkpoint, which ``from_pretrained`` reported as unexpected.

    Raises:
        InputError: If ``config.json`` names a bias that the checkpoint lacks.
    """
    try:
        head, name = classification_head(model), _bias_name(model)
    except ValueError:  # no linear head, so that nothing was added to it
        return
    if head.bias is None and name in loading["unexpected_keys"]:
        value = _read_tensor(path, name, revision).to(head.weight)
        if len(value) == head.out_features:
            _set_bias(model, value)
    check_head_bias(model)


def expect_head_bias(model: PreTrainedModel, stored: Collection[str]) -> None:
    """Give the head a bias if an adapter stores one, by the names of its weights."""
    head = classification_head(model)
    if head.bias is None and _bias_name(model) in stored:
        _set_bias(model, head.weight.new_zeros(head.out_features))


def check_head_bias(model: Any) -> None:
    """Refuse a model that lost the bias which its configuration names.

    Raises:
        InputError: If so.
    """
    name = ZLPRConfig.read(model.config).head_bias
    if name is not None and classification_head(model).bias is None:
        raise InputError(
            f"{model.config.name_or_path or 'the model'}: config.json names a bias of the head, "
            f"{name}, that is missing; classes of transformers drop it: load the original folder "
            "with zlpr_hf.Classifier.load, load_pipeline or load_model"
        )


def fold_stored_offsets(model: Any) -> Thresholds:
    """Move offsets from the configuration into the bias of the head; return the rest of the rule.

    Raises:
        InputError: If the head has another number of labels than the offsets, or lost its bias.
    """
    check_head_bias(model)
    stored = Thresholds.from_config(model.config)
    if not stored.offsets:
        return stored
    head = classification_head(model)
    if len(stored.offsets) != head.out_features:
        raise InputError(
            f"config.json: 'zlpr' holds offsets of {len(stored.offsets)} labels, and the head has "
            f"{head.out_features} outputs; if you replaced the head: del model.config.zlpr"
        )
    add_head_bias(model, "offsets in config.json")
    return stored.fold_into(head, model.config)


def _set_bias(model: PreTrainedModel, value: torch.Tensor) -> None:
    name = _bias_name(model)
    classification_head(model).bias = nn.Parameter(value)
    ZLPRConfig.update(model.config, head_bias=name)


def _bias_name(model: PreTrainedModel) -> str:
    """Return the name of the head's bias in a checkpoint."""
    plain = without_adapters(model)
    head = classification_head(plain)
    found = next(name for name, module in plain.named_modules() if module is head)
    for inside in (".modules_to_save.default", ".original_module"):  # layers of peft
        found = found.removesuffix(inside)
    return f"{found}.bias"


def _read_tensor(path: str, name: str, revision: str | None) -> torch.Tensor:
    """Return one tensor of a checkpoint, which may be in several files."""
    file = SAFE_WEIGHTS_NAME
    index = cached_file(
        path,
        SAFE_WEIGHTS_INDEX_NAME,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
    )
    if index is not None:
        with open(index, encoding="utf-8") as stream:
            file = json.load(stream)["weight_map"][name]
    with safe_open(str(cached_file(path, file, revision=revision)), framework="pt") as stored:
        value: torch.Tensor = stored.get_tensor(name)
    return value
