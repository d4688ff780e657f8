"""Load a stock sequence classifier that carries labels, loss and thresholds in its config.json."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from zlpr_hf.choices import Pooling
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.four_bits import check_head_is_float, four_bit_options
from zlpr_hf.models.head_bias import fold_stored_offsets, restore_head_bias
from zlpr_hf.models.label_changes import LabelChanges, set_label_changes
from zlpr_hf.models.loading_errors import loading_error
from zlpr_hf.models.lora import is_adapter, load_adapter
from zlpr_hf.models.new_weights import (
    checkpoint_has_head,
    has_new_head,
    remember_new_weights,
    renew_head,
    without_load_report,
)
from zlpr_hf.models.pad_token import has_pad_token, match_pad_token
from zlpr_hf.models.paths import find_model, hub_options
from zlpr_hf.models.pooling import (
    POOLED_BY_LAYER,
    append_pooling_layer,
    find_pooling,
    has_added_layer,
    needs_added_layer,
)
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)


def load_model(
    name: str,
    label_space: LabelSpace | Sequence[str] | None = None,
    *,
    num_labels: int | None = None,
    loss: str = "zlpr",
    label_sets: LabelSets | None = None,
    pooling: Pooling = "auto",
    dropout: float | None = None,
    rename_labels: Mapping[str, str] | Sequence[str] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    load_in_4bit: bool = False,
) -> PreTrainedModel:
    """Load an encoder with a classification head for the labels of a dataset.

    The model is a stock class of transformers: once saved, it loads without this package and makes
    the same decisions. If the checkpoint is a classifier, the rows of its head follow the names of
    their labels, in any order: labels that stay keep their weights, bias and offset, and so their
    logits. Other labels start as the mean of those rows with small noise, and rows of labels that
    are not in ``label_space`` are dropped; one line of the log (level INFO) says which. Adapters
    are merged first. A powerset head is kept if all of its label sets stay.

    Args:
        name: Hub id, folder, or ``package:MODULE/FOLDER`` for a Python package with weights in it.
        label_space: The labels or their names, in the order of the outputs; written into
            ``config.json`` as ``id2label`` and ``label2id``.
        num_labels: Number of labels, in place of ``label_space``; they are called ``LABEL_0``,
            ``LABEL_1`` and so on.
        loss: Name of the loss, written into the ``zlpr`` entry of ``config.json``.
        label_sets: For the loss ``powerset``: one output per set, named after the set, so that a
            stock pipeline answers with the best set.
        pooling: ``first`` keeps the encoder's own summary, its first token. ``mean`` averages the
            tokens; BERT-like encoders gain one layer for it. ``auto`` uses the pooling that the
            checkpoint was trained with: the mean for most sentence-embedding checkpoints.
        dropout: All dropout rates of the model; None keeps those of the checkpoint.
        rename_labels: Old name to new name of labels of the checkpoint that keep their rows; or
            texts such as ``old=new``.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code from the model's folder or repository.
        load_in_4bit: Load the linear layers of the encoder in 4 bits, for LoRA with little memory;
            requires a CUDA GPU and bitsandbytes.

    Returns:
        The model in float32, but for layers in 4 bits.

    Raises:
        InputError: If the model cannot be loaded, is pickled, requires ``trust_remote_code``, does
            not support the pooling or 4 bits, or has no label that ``rename_labels`` names.

    Example:
        >>> names = ["joy", "anger"]
        >>> model = load_model("google-bert/bert-base-uncased", names, pooling="mean")
        >>> model.config.id2label
        {0: 'joy', 1: 'anger'}
    """
    label_space = _as_label_space(label_space, num_labels)
    if pooling not in get_args(Pooling):
        raise InputError(f"pooling: expected auto, first or mean, got {pooling!r}")
    path = find_model(name, revision)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        outputs = label_space if label_sets is None else label_sets.output_space(label_space)
        changes = LabelChanges.find(config, outputs, label_sets=label_sets, renamed=rename_labels)
        adapted = is_adapter(path, revision)
        if not has_pad_token(config):
            tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust_remote_code)
            match_pad_token(tokenizer, config)
        if not (changes.kept or adapted):
            config.id2label = outputs.id2label
            config.label2id = dict(outputs.label2id)
        config.problem_type = (
            "multi_label_classification" if label_sets is None else "single_label_classification"
        )
        already_pooled = has_added_layer(config)
        if already_pooled and pooling == "first":
            raise InputError(
                f"pooling first: {name!r} was trained with the layer that pooling mean adds, which "
                "stays; use auto or mean"
            )
        if pooling == "auto":
            pooling = find_pooling(path, config, revision=revision)
        sets = {} if label_sets is None else label_sets.to_config(label_space)
        thresholds = ZLPRConfig.read(config).thresholds
        ZLPRConfig(loss=loss, pooling=pooling, **sets).write(config)
        if dropout is not None:
            config.update(dict.fromkeys(_dropout_rates(config), dropout))
        if hasattr(config, "classifier_pooling"):
            _set_classifier_pooling(config, mean=pooling == "mean")
        if load_in_4bit and (adapted or (pooling == "mean" and needs_added_layer(config))):
            raise InputError(
                "load_in_4bit: not supported for adapters, nor for the layer that pooling mean "
                "adds; merge the adapter first, or use pooling first"
            )
        model: PreTrainedModel
        if adapted:
            model = load_adapter(path, config, revision=revision)
        else:
            form = options | (four_bit_options() if load_in_4bit else {})
            model = _load_stock(path, config, form, with_bias=bool(changes.kept))
            if load_in_4bit:
                check_head_is_float(model)
    except InputError:
        raise
    except (ImportError, OSError, SafetensorError, ValueError) as error:
        raise loading_error(name, error) from error
    checkpoint_had_head = checkpoint_has_head(model)
    if checkpoint_had_head:
        set_label_changes(model, changes)
    renew_head(model, keep=bool(changes.kept))  # from_pretrained keeps one with as many others
    if not has_new_head(model):
        ZLPRConfig.update(model.config, thresholds=thresholds)
        fold_stored_offsets(model)
    if changes.kept or adapted:
        changes.apply(model)
    if checkpoint_had_head:
        logger.info(changes.render())
    if pooling == "mean" and not already_pooled and needs_added_layer(config):
        if config.model_type not in POOLED_BY_LAYER:
            known = ", ".join((*POOLED_BY_LAYER, "modernbert"))
            raise InputError(f"pooling mean: supported for {known}, not for {config.model_type}")
        append_pooling_layer(model)
    return model


def _load_stock(
    path: str, config: PretrainedConfig, options: dict[str, Any], *, with_bias: bool
) -> PreTrainedModel:
    with without_load_report():
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,  # a half-precision checkpoint would train in half precision
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    remember_new_weights(model, loading)
    if with_bias:
        restore_head_bias(model, path, loading, revision=options.get("revision"))
    found: PreTrainedModel = model
    return found


def _as_label_space(labels: LabelSpace | Sequence[str] | None, count: int | None) -> LabelSpace:
    if (labels is None) == (count is None):
        raise InputError(
            "load_model: expected label names or num_labels, one of them, such as load_model(NAME, "
            '["joy", "anger"]) or load_model(NAME, num_labels=2)'
        )
    if labels is not None:
        return labels if isinstance(labels, LabelSpace) else LabelSpace.from_names(labels)
    if not isinstance(count, int) or count < 2:
        raise InputError(f"num_labels: expected 2 or more, got {count!r}")
    return LabelSpace.numbered(count)


def _set_classifier_pooling(config: Any, *, mean: bool) -> None:
    """Choose the mean, or the family's own summary, which need not be the first token."""
    if mean:
        config.classifier_pooling = "mean"
    elif config.classifier_pooling == "mean":
        own = type(config)().classifier_pooling
        config.classifier_pooling = "cls" if own == "mean" else own


def read_dropout_rates(
    name: str, *, revision: str | None, trust_remote_code: bool
) -> dict[str, float]:
    """Return the dropout rates in the configuration of a checkpoint, by name."""
    options = hub_options(revision, trust_remote_code)
    return _dropout_rates(AutoConfig.from_pretrained(find_model(name, revision), **options))


def _dropout_rates(config: PretrainedConfig) -> dict[str, float]:
    """Return all rates: model families name them differently; None refers to another rate."""
    return {
        name: value
        for name, value in vars(config).items()
        if ("dropout" in name or name.endswith("_pdrop")) and type(value) in (int, float)
    }
