"""QLoRA: an encoder in 4 bits while adapters are trained, and in float32 afterwards."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from zlpr_hf.errors import InputError
from zlpr_hf.models.head import classification_head
from zlpr_hf.zlpr_config import ZLPRConfig

NEW_LAYERS = ["score", "classifier", "pooler", "pre_classifier", "out_proj"]
"""Names of layers that a checkpoint may lack; those are trained, in float32."""


def four_bit_options() -> dict[str, Any]:
    """Return the options of ``from_pretrained`` that load the linear layers in 4 bits (NF4).

    Raises:
        InputError: If there is no CUDA GPU, or bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise InputError("load_in_4bit requires bitsandbytes: pip install bitsandbytes")
    if not torch.cuda.is_available():
        raise InputError("load_in_4bit requires a CUDA GPU; leave it out on this machine")
    quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=NEW_LAYERS,
    )
    return {"quantization_config": quantization}


def check_head_is_float(model: PreTrainedModel) -> None:
    """Refuse a model whose head was loaded in 4 bits: it could not be trained.

    Raises:
        InputError: If so.
    """
    if type(classification_head(model)) is not nn.Linear:
        raise InputError(f"load_in_4bit: not supported for {type(model).__name__}")


def move_adapters(trained: Any, whole: Any) -> Any:
    """Put trained adapters and head on the same encoder in float32, and return that model.

    Both have adapters of the same form. Logits of the encoder in 4 bits differ, so that offsets,
    scores and numbers must come from the model that is saved.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    set_peft_model_state_dict(whole, get_peft_model_state_dict(trained))
    ZLPRConfig.read(trained.config).write(whole.config)
    return whole.to(trained.device)
