"""LoRA: train low-rank adapters of an encoder, and merge them into its weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from zlpr_hf.errors import InputError
from zlpr_hf.models.loading import without_load_report
from zlpr_hf.models.paths import resolve_model_path

WEIGHTS = "adapter_model.safetensors"
MISSING_PEFT = "LoRA requires peft: pip install 'zlpr_hf[peft]'"


def add_lora(
    model: PreTrainedModel,
    *,
    name: str,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    target_modules: list[str] | None = None,
) -> Any:
    """Freeze an encoder and add LoRA adapters to it; the head is trained in full.

    The adapter stores ``name``, the encoder it belongs to. Updates are scaled by ``alpha / rank``.
    ``target_modules`` are names of linear layers; None stands for all of the encoder.

    Raises:
        InputError: If peft is not installed, or a value does not fit the model.

    References:
        Hu et al.: LoRA: Low-Rank Adaptation of Large Language Models, 2021.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise InputError(MISSING_PEFT) from error
    try:
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules="all-linear" if target_modules is None else target_modules,
        )
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"LoRA: {str(error).splitlines()[0]}") from error
    # The user's name, not the path that a package has on this machine.
    wrapped.peft_config["default"].base_model_name_or_path = name
    return wrapped


def merge_lora(model: Any) -> PreTrainedModel:
    """Return the model of transformers with the adapters added to its weights."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def load_adapter(folder: str, config: PretrainedConfig) -> PreTrainedModel:
    """Load an adapter on top of the encoder that it names, merged and in float32.

    Args:
        folder: Folder or Hub id with ``adapter_config.json``.
        config: The configuration saved beside the adapter, with the labels.

    Raises:
        InputError: If peft is not installed, or the adapter is pickled.
    """
    try:
        from peft import PeftConfig, PeftModel
    except ImportError as error:
        raise InputError(MISSING_PEFT) from error
    # Without this file peft would read a pickle.
    if not cached_file(folder, WEIGHTS, _raise_exceptions_for_missing_entries=False):
        raise InputError(
            f"{folder}: no {WEIGHTS}; weights are read from safetensors only: a pickle such as "
            "adapter_model.bin can run code"
        )
    base = PeftConfig.from_pretrained(folder).base_model_name_or_path
    with without_load_report():  # the encoder has no head, and the adapter brings its own
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            resolve_model_path(base),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
        )
    return merge_lora(PeftModel.from_pretrained(model, folder))
