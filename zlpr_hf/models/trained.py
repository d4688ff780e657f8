"""Load a trained classifier from a folder or the Hub."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from zlpr_hf.errors import InputError
from zlpr_hf.models.head_bias import restore_head_bias
from zlpr_hf.models.loading_errors import explain_loading_error
from zlpr_hf.models.lora import is_adapter, load_adapter
from zlpr_hf.models.new_weights import without_load_report
from zlpr_hf.models.paths import hub_options, resolve_model_path


def load_trained_model(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a classifier with its head, adapters merged, on the accelerator if there is one.

    Raises:
        InputError: If the model cannot be loaded, is pickled, or lacks weights of its head.
    """
    path = resolve_model_path(name)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        model: Any
        if is_adapter(path, revision):
            model = load_adapter(path, config, revision=revision)
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
            restore_head_bias(model, path, loading, revision=revision)
            if loading["missing_keys"]:
                missing = ", ".join(sorted(loading["missing_keys"])[:3])
                raise InputError(f"{name}: not a trained classifier, no weights for {missing}")
    except InputError:
        raise
    except (ImportError, OSError, SafetensorError, ValueError) as error:
        reason = explain_loading_error(error)
        raise InputError(f"model {name!r} could not be loaded: {reason}") from error
    # A CUDA build of torch names its accelerator also on a machine without one.
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    loaded: PreTrainedModel = model.to(device)
    return loaded


def check_float32(model: PreTrainedModel) -> None:
    """Refuse half-precision weights: ``precision`` promises the decisions of float32."""
    for weight in model.parameters():
        if weight.is_floating_point() and weight.dtype.itemsize < torch.float32.itemsize:
            raise InputError(
                f"{model.config.name_or_path or 'the model'}: expected weights in float32, got "
                f"{str(weight.dtype).removeprefix('torch.')}; load it with dtype=torch.float32, "
                "and use precision='bfloat16' for speed"
            )
