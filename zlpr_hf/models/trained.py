"""A trained classifier of torch, from a folder or the Hub."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from zlpr_hf.errors import InputError
from zlpr_hf.models.loading import (
    hub_options,
    resolve_model_path,
    why_not_loaded,
    without_load_report,
)
from zlpr_hf.models.lora import load_adapter


def load_trained_model(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a classifier as it was trained, adapters merged.

    Args:
        name: Folder or Hub id.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: As in :func:`zlpr_hf.load_model`.

    Returns:
        The model in float32, on the accelerator if there is one.

    Raises:
        InputError: If it cannot be loaded, is pickled, or lacks weights such as those of its head.
    """
    path = resolve_model_path(name)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        model: Any
        if find_adapter_config_file(path, revision=revision):
            model = load_adapter(path, config)
        else:
            with without_load_report():
                model, loading = AutoModelForSequenceClassification.from_pretrained(
                    path,
                    config=config,
                    dtype=torch.float32,
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                )
            if loading["missing_keys"]:
                missing = ", ".join(sorted(loading["missing_keys"])[:3])
                raise InputError(f"{name}: no trained classifier, it has no weights for {missing}")
    except InputError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        reason = why_not_loaded(error)
        raise InputError(f"model {name!r} could not be loaded: {reason}") from error
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    loaded: PreTrainedModel = model.to(device)
    return loaded
