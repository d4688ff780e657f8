"""The model of a run at the start of training, with adapters if asked."""

from __future__ import annotations

import random
from pathlib import Path

from transformers import PreTrainedModel

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.errors import InputError
from zlpr_hf.losses.registry import loss_name
from zlpr_hf.models.fewer_layers import keep_layers
from zlpr_hf.models.head_bias import add_head_bias
from zlpr_hf.models.head_init import init_head_from_label_names, read_label_descriptions
from zlpr_hf.models.label_changes import new_rows, start_from_names
from zlpr_hf.models.loading import load_model
from zlpr_hf.models.lora import add_lora, is_adapter
from zlpr_hf.models.pooling import has_added_layer
from zlpr_hf.models.probe import check_model
from zlpr_hf.training.checkpoints import check_same_task
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.prepare import Prepared
from zlpr_hf.zlpr_config import ZLPRConfig

HEAD_INIT_TEXTS = 512
"""Training texts that scale a head made from label names."""


def build_model(
    prepared: Prepared, arguments: ModelArguments, *, checkpoint: Path | None = None
) -> PreTrainedModel:
    """Build the model for the start of training, with adapters if asked.

    The weights of a checkpoint are loaded later; its labels must be those of the data.
    """
    data, label_sets = prepared.data, prepared.loss.label_sets
    described = find_label_descriptions(data, arguments)
    outputs = data.label_space if label_sets is None else label_sets.output_space(data.label_space)
    model = load_model(
        arguments.model_name_or_path,
        data.label_space,
        loss=loss_name(prepared.loss),
        label_sets=label_sets,
        pooling=arguments.pooling,
        dropout=arguments.dropout,
        rename_labels=arguments.rename_labels,
        revision=arguments.model_revision,
        trust_remote_code=arguments.trust_remote_code,
        load_in_4bit=arguments.load_in_4bit,
    )
    if arguments.keep_layers is not None:
        keep_layers(model, arguments.keep_layers)
    if arguments.tune_thresholds not in ("auto", "none"):
        add_head_bias(model, f"tune_thresholds {arguments.tune_thresholds}")
    elif not prepared.loss.decides_at_zero:
        add_head_bias(model, f"loss {loss_name(prepared.loss)}")
    check_model(model, prepared.tokenizer)
    if checkpoint is not None:
        check_same_task(checkpoint, outputs, getattr(model.config, "num_hidden_layers", 0))
    elif rows := _rows_from_names(arguments, model):
        init_head_from_label_names(
            model,
            prepared.tokenizer,
            data.label_space,
            _sample_texts(data),
            descriptions=described,
            label_sets=label_sets,
            rows=rows,
            max_length=arguments.max_length,
        )
        start_from_names(model)
    return _add_adapters(model, arguments) if arguments.use_peft else model


def find_label_descriptions(data: LabelledData, arguments: ModelArguments) -> dict[str, str]:
    """Return the descriptions that come with the data and those of the file, which count first."""
    described = read_label_descriptions(arguments.label_descriptions_file, data.label_space)
    return data.label_descriptions | described


def _rows_from_names(arguments: ModelArguments, model: PreTrainedModel) -> list[int]:
    """Return the rows of the head that start from label names; trained rows always stay."""
    if arguments.head_init == "auto":
        by_name = ZLPRConfig.read(model.config).pooling == "mean"
    else:
        by_name = arguments.head_init == "label_names"
    return new_rows(model) if by_name else []


def _sample_texts(data: LabelledData) -> list[str]:
    if isinstance(data, StreamedData):
        return [texts[0] for texts in data.scan.sample]
    rows = list(data.splits["train"]["text"])
    return random.Random(0).sample(rows, min(HEAD_INIT_TEXTS, len(rows)))


def _add_adapters(model: PreTrainedModel, arguments: ModelArguments) -> PreTrainedModel:
    if arguments.peft_save == "adapter" and arguments.keep_layers is not None:
        raise InputError(
            "peft_save adapter: an adapter goes with the whole encoder, and keep_layers leaves "
            "layers out; use peft_save merged"
        )
    if arguments.peft_save == "adapter" and has_added_layer(model.config):
        raise InputError(
            "peft_save adapter: an adapter cannot hold the layer that pooling mean adds to "
            f"{model.config.model_type}; use peft_save merged, or pooling first"
        )
    if arguments.peft_save == "adapter" and is_adapter(
        arguments.model_name_or_path, arguments.model_revision
    ):
        raise InputError(
            f"peft_save adapter: {arguments.model_name_or_path!r} is an adapter itself, and cannot "
            "be the encoder of another one; use peft_save merged"
        )
    adapted: PreTrainedModel = add_lora(
        model,
        name=arguments.model_name_or_path,
        revision=arguments.model_revision,
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        dropout=arguments.lora_dropout,
        target_modules=arguments.lora_target_modules,
    )
    return adapted
