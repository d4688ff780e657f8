"""LoRA: train low-rank adapters of an encoder, and merge them into its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from zlpr_hf.errors import InputError
from zlpr_hf.models.head_bias import check_head_bias, expect_head_bias
from zlpr_hf.models.new_weights import new_weights, remember_new_weights, without_load_report
from zlpr_hf.models.paths import hub_options, resolve_model_path

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Prefix of peft for the names of an encoder's weights."""
MISSING_PEFT = 'LoRA requires peft: pip install "zlpr_hf[peft]"'


def add_lora(
    model: PreTrainedModel,
    *,
    name: str,
    revision: str | None = None,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    target_modules: list[str] | None = None,
) -> Any:
    """Freeze an encoder and add LoRA adapters to it; all layers that it lacks are trained in full.

    Those are the head, and for some encoders a pooler or a dense layer before the head. The adapter
    stores them, and ``name`` and ``revision`` of the encoder it belongs to. Updates are scaled by
    ``alpha / rank``. ``target_modules`` are names of layers; None stands for all linear ones.

    Raises:
        InputError: If peft is not installed, or a value does not fit the model.

    References:
        Hu et al.: LoRA: Low-Rank Adaptation of Large Language Models, 2021.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise InputError(MISSING_PEFT) from error
    whole, new = _layers_trained_in_full(model), new_weights(model)
    targets = _adapted_layers(model, target_modules, whole)
    try:
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=targets,
            fan_in_fan_out=all(isinstance(model.get_submodule(name), Conv1D) for name in targets),
            modules_to_save=whole,
            revision=revision,
        )
        wrapped = get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        raise InputError(f"LoRA: {str(error).splitlines()[0]}") from error
    if lost := new - _stored_weights(wrapped):
        raise InputError(
            f"LoRA: {min(lost)} is not in the encoder, and peft cannot train it in full; "
            "set use_peft to false"
        )
    # The user's name, not the path that a package has on this machine.
    wrapped.peft_config["default"].base_model_name_or_path = name
    return wrapped


def merge_lora(model: Any) -> PreTrainedModel:
    """Return the model of transformers with the adapters added to its weights."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def _layers_trained_in_full(model: PreTrainedModel) -> list[str]:
    """Return the outermost layers that hold the weights which the encoder lacks."""
    layers = {name.rpartition(".")[0] for name in new_weights(model)} - {""}
    # peft wraps these two by their names, with everything inside.
    inside = {name for name in layers if _is_inside(name, ("classifier", "score"))}
    return sorted(
        name
        for name in layers - inside
        if not any(name.startswith(f"{other}.") for other in layers)
    )


def _adapted_layers(
    model: PreTrainedModel, targets: list[str] | None, whole: list[str]
) -> list[str]:
    """Return the full names of the layers that get an adapter."""
    full = (*whole, "classifier", "score")
    uses = Counter(id(module.weight) for module in model.modules() if hasattr(module, "weight"))
    found = [
        name
        for name, module in model.named_modules()
        if not _is_inside(name, full)
        and uses[id(getattr(module, "weight", None))] < 2  # adapters of a tied weight cannot merge
        and (
            _is_plain_linear(module)
            if targets is None
            else any(f".{name}".endswith(f".{target}") for target in targets)
        )
    ]
    if not found:
        named = "linear layers" if targets is None else ", ".join(targets)
        raise InputError(f"LoRA: No modules were targeted: the encoder has no {named}")
    return found


def _is_plain_linear(module: nn.Module) -> bool:
    """Whether a layer returns a linear map and nothing else, unlike some routers."""
    if not isinstance(module, nn.Linear) or type(module).forward is nn.Linear.forward:
        return isinstance(module, (nn.Linear, Conv1D))
    with torch.no_grad():
        rows = torch.zeros(1, module.in_features, device=module.weight.device)
        return isinstance(module(rows), Tensor)


def _is_inside(name: str, layers: Iterable[str]) -> bool:
    """Whether a module is one of these layers, by the end of its name as in peft, or inside one."""
    parts = name.split(".")
    outer = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return any(each.endswith(layer) for each in outer for layer in layers)


def _stored_weights(wrapped: Any) -> set[str]:
    """Return the names of the weights that an adapter stores, as the encoder names them."""
    from peft import get_peft_model_state_dict

    return {name.removeprefix(PREFIX) for name in get_peft_model_state_dict(wrapped)}


def is_adapter(name: str, revision: str | None = None) -> bool:
    """Whether a folder or repository holds adapters in place of a whole model."""
    return find_adapter_config_file(resolve_model_path(name), revision=revision) is not None


def load_adapter(
    folder: str, config: PretrainedConfig, *, revision: str | None = None
) -> PreTrainedModel:
    """Load an adapter on top of the encoder that it names, merged and in float32.

    Args:
        folder: Folder or Hub id with ``adapter_config.json``.
        config: The configuration saved beside the adapter, with the labels.
        revision: Branch, tag or commit of the adapter; that of the encoder is in the adapter.

    Raises:
        InputError: If peft is not installed, the adapter is pickled, or neither the encoder nor the
            adapter has some weight.
    """
    try:
        from peft import PeftConfig, PeftModel
    except ImportError as error:
        raise InputError(MISSING_PEFT) from error
    # Without this file peft would read a pickle.
    weights = cached_file(
        folder, WEIGHTS, revision=revision, _raise_exceptions_for_missing_entries=False
    )
    if not weights:
        raise InputError(
            f"{folder}: no {WEIGHTS}; weights are read from safetensors only: a pickle such as "
            "adapter_model.bin can run code"
        )
    adapter = PeftConfig.from_pretrained(folder, revision=revision)
    with without_load_report():  # the encoder has no head, and the adapter brings its own
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            resolve_model_path(adapter.base_model_name_or_path),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **hub_options(adapter.revision, trust_remote_code=False),
        )
    remember_new_weights(model, loading)
    new = new_weights(model)  # peft renames the weights that it wraps
    with safe_open(weights, framework="pt") as stored:
        names = {name.removeprefix(PREFIX) for name in stored.keys()}  # noqa: SIM118
    expect_head_bias(model, names)
    missing = new - names
    if not missing:
        try:
            wrapped = PeftModel.from_pretrained(model, folder, revision=revision)
            missing = _stored_weights(wrapped) - names
        except KeyError as error:  # a layer that the adapter lists and does not hold
            missing = {str(error.args[0]).removeprefix(PREFIX)}
    if missing:
        raise InputError(
            f"{folder}: neither the adapter nor its encoder "
            f"{adapter.base_model_name_or_path!r} has {min(missing)}; train the adapter again"
        )
    model = merge_lora(wrapped)
    check_head_bias(model)
    remember_new_weights(model, {"missing_keys": (), "mismatched_keys": ()})  # all are there now
    return model
