"""The folder of a classifier: load its model and tokenizer, prepare, fingerprint and write them."""

from __future__ import annotations

import copy
import hashlib
import shlex
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.choices import Backend, LongTexts
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import new_folder
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.onnx_session import uses_onnx
from zlpr_hf.inference.windows import stored_rule
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_bias import add_head_bias, check_head_bias, fold_stored_offsets
from zlpr_hf.models.lengths import limit_to_positions
from zlpr_hf.models.pad_token import match_pad_token
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.models.tokenizer import load_tokenizer, read_special_tokens_as_text
from zlpr_hf.models.trained import check_float32, load_trained_model
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.zlpr_config import ZLPRConfig


def load_parts(
    name: str, *, backend: Backend, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel | OnnxModel, PreTrainedTokenizerBase]:
    """Load the model and the tokenizer of a folder or Hub id.

    Raises:
        InputError: If there is no such model, or it is not a multi-label classifier.
    """
    path = resolve_model_path(name)
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise InputError(
            f"{name}: no model (config.json) in this folder{describe_unfinished(Path(path))}"
        )
    tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust_remote_code)
    if uses_onnx(path, backend):
        return OnnxModel.load(path), tokenizer
    model = load_trained_model(name, revision=revision, trust_remote_code=trust_remote_code)
    return model, tokenizer


def describe_unfinished(folder: Path) -> str:
    """Return how to resume the training in a folder without a model, empty if there is none."""
    config = folder / "train_config.yaml"
    if not config.is_file():  # a run writes it first, and its model last
        return ""
    return (
        "; its training is unfinished, resume it with: zlpr train "
        f"{shlex.quote(str(config))} --resume_from_checkpoint true"
    )


def prepare_parts(
    model: PreTrainedModel | OnnxModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[LabelSpace, Thresholds, LabelSets | None]:
    """Make a model and its tokenizer ready for inference; return labels, limits and label sets.

    Changes both in place, as :meth:`zlpr_hf.Classifier.from_model` says.

    Raises:
        InputError: If the model is not a multi-label classifier, or not in float32.
    """
    if isinstance(model, PreTrainedModel):
        check_float32(model)
        nn.Module.eval(model)
    config: Any = model.config
    stored_rule(config)  # refuse a wrong one now
    match_pad_token(tokenizer, config)
    read_special_tokens_as_text(tokenizer)
    torch_model = model if isinstance(model, PreTrainedModel) else None
    limit_to_positions(tokenizer, config, model=torch_model)
    label_sets = LabelSets.from_config(config)
    if label_sets is not None:
        names = tuple(ZLPRConfig.read(config).labels)
        return LabelSpace(names), Thresholds(), label_sets
    if config.problem_type != "multi_label_classification":
        raise InputError(
            f"{config.name_or_path or 'the model'}: expected a multi-label classifier, "
            f"got problem_type {config.problem_type}"
        )
    if torch_model is not None:
        check_head_bias(torch_model)
    thresholds = Thresholds.from_config(config)
    if thresholds.offsets:
        if isinstance(model, OnnxModel):
            raise InputError("an exported model has its offsets in the bias; export it again")
        thresholds = fold_stored_offsets(model)
    return LabelSpace.from_config(config), thresholds, None


def compute_fingerprint(
    model: PreTrainedModel | OnnxModel, tokenizer: PreTrainedTokenizerBase
) -> str:
    """Return a hexadecimal digest of the configuration and the weights."""
    config: Any = model.config
    content = hashlib.sha256(config.to_json_string().encode())
    content.update(str(tokenizer.model_max_length).encode())
    if isinstance(model, OnnxModel):
        content.update(model.fingerprint().encode())
    else:
        for name, value in model.state_dict().items():
            content.update(name.encode())
            content.update(value.cpu().flatten().view(torch.uint8).numpy())
    return content.hexdigest()


def write_folder(
    folder: Path,
    model: PreTrainedModel | OnnxModel,
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Thresholds,
    *,
    temperature: float | None,
    long_texts: LongTexts | None,
    guarantee: Guarantee | None = None,
) -> None:
    """Write a copy of the model with offsets and a temperature in its head, and the tokenizer."""
    changed: Any = copy.deepcopy(model)
    if any(thresholds.offsets):
        add_head_bias(changed, "the offset of a label")
    thresholds.fold_into(classification_head(changed), changed.config, temperature=temperature)
    ZLPRConfig.update(changed.config, calibration={}, long_texts=long_texts)  # measured before
    if guarantee is not None:
        ZLPRConfig.update(changed.config, guarantee=guarantee.to_config())
    with new_folder(folder) as part:
        changed.save_pretrained(part)
        tokenizer.save_pretrained(part)
