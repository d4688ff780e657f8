"""Preparation of a run: data, token ids, loss, model and trainer."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.data.profile import DataProfile, compute_profile, compute_streamed_profile
from zlpr_hf.data.sources import Source
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.errors import InputError
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import build_loss, loss_name
from zlpr_hf.models.fewer_layers import keep_layers
from zlpr_hf.models.head_bias import add_head_bias
from zlpr_hf.models.head_init import init_head_from_label_names, read_label_descriptions
from zlpr_hf.models.label_changes import new_rows, start_from_names
from zlpr_hf.models.loading import load_model
from zlpr_hf.models.lora import add_lora, is_adapter
from zlpr_hf.models.pooling import has_added_layer
from zlpr_hf.models.probe import check_model
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.training.checkpoints import check_same_task
from zlpr_hf.training.progress import TrainingProgress
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.argument_checks import check_best_metric, is_large_label_space
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.auto_defaults import choose_defaults
from zlpr_hf.workflows.earlier_runs import EarlierRuns
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.zlpr_config import ZLPRConfig

HEAD_INIT_TEXTS = 512
"""Training texts that scale a head made from label names."""


@dataclass(frozen=True)
class Prepared:
    """Checked and encoded data with the loss; shared by all models that are trained on it.

    A streamed training split is not in ``encoded``. The tokenizer truncates texts as in training.
    With ``large``, head and loss are computed in chunks of labels. ``config`` has values for all
    options that were left at ``auto``.
    """

    config: RunConfig
    data: LabelledData
    encoded: dict[str, Dataset]
    tokenizer: PreTrainedTokenizerBase
    loss: MultiLabelLoss
    large: bool
    profile: DataProfile


def prepare(
    config: RunConfig,
    *,
    data: LabelledData | Source | None = None,
    earlier: EarlierRuns | None = None,
    cross_fits: bool = False,
) -> Prepared:
    """Read the data or its source, encode it, and fit the loss; write nothing.

    Data that has been read already stays as it is.

    Only the caller that ``cross_fits`` gets folds; the others need a validation split.
    """
    if not cross_fits and config.data.folds:
        raise InputError("folds: only zlpr train and zlpr audit cross-fit; leave it out here")
    if not isinstance(data, LabelledData):
        earlier = earlier or EarlierRuns.find(config)
        by_default = cross_fits and not config.training.large_label_space
        if config.data.folds is None and not by_default:
            config = replace(config, data=replace(config.data, folds=0))
        data = load_data(config.data, earlier.known, fold_blocker=earlier.fold_blocker, source=data)
    folds = 0 if data.folds is None else int(data.folds.max()) + 1
    config = replace(config, data=replace(config.data, folds=folds))
    model, training = config.model, config.training
    num_labels = data.label_space.num_labels
    if folds and training.large_label_space:
        raise InputError("folds: not supported in a large label space; set folds 0")
    large = not folds and is_large_label_space(config, num_labels=num_labels, hard=data.is_hard)
    check_best_metric(training, num_labels, large=large)
    streamed = isinstance(data, StreamedData)
    loss = build_loss(
        training.loss,
        reduction="none",
        train_targets=None if large or streamed else data.targets("train"),
        **training.loss_kwargs,  # type: ignore[arg-type]  # a mapping once it is checked
    )
    tokenizer = load_tokenizer(
        model.model_name_or_path,
        revision=model.model_revision,
        trust_remote_code=model.trust_remote_code,
        text_prefix=model.text_prefix,
    )
    config = choose_defaults(config, data, tokenizer, large=large)
    model = config.model
    if model.long_texts in ("mean", "max") and not tokenizer.is_fast:
        raise InputError(
            f"long_texts: {model.long_texts} requires a fast tokenizer, got "
            f"{type(tokenizer).__name__}; use cut"
        )
    encoded = {
        name: encode(rows, tokenizer, max_length=model.max_length, description=f"tokenise {name}")
        for name, rows in data.splits.items()
    }
    if isinstance(data, StreamedData):
        sample = encode(
            Dataset.from_dict(
                dict(zip(("text", "text_pair"), zip(*data.scan.sample, strict=True), strict=False))
            ),
            tokenizer,
            max_length=model.max_length,
            description="tokenise a sample of train",
        )
        profile = compute_streamed_profile(data, encoded, sample)
    else:
        profile = compute_profile(data, encoded)
    for split in ("validation", "test"):
        encoded[split] = encoded[data.split_of(split)]
    # Saved with the checkpoint, so that every user of it truncates texts as in training.
    tokenizer.model_max_length = model.max_length
    return Prepared(config, data, encoded, tokenizer, loss, large, profile)


def build_model(
    prepared: Prepared, arguments: ModelArguments, *, checkpoint: Path | None = None
) -> PreTrainedModel:
    """Build the model for the start of training, with adapters if asked.

    The weights of a checkpoint are loaded later; its labels must be those of the data.
    """
    data, label_sets = prepared.data, prepared.loss.label_sets
    outputs = data.label_space if label_sets is None else label_sets.output_space(data.label_space)
    described = read_label_descriptions(arguments.label_descriptions_file, data.label_space)
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
            descriptions=data.label_descriptions | described,
            label_sets=label_sets,
            rows=rows,
            max_length=arguments.max_length,
        )
        start_from_names(model)
    return _add_adapters(model, arguments) if arguments.use_peft else model


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


def _train_rows(prepared: Prepared, config: RunConfig) -> Dataset | StreamedRows:
    data, arguments = prepared.data, config.training
    if not isinstance(data, StreamedData):
        return prepared.encoded["train"]
    step_rows = (
        arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    )
    grouped = arguments.train_sampling_strategy == "group_by_length"
    return StreamedRows(
        data.stream,
        data.label_space.label2id,
        count=data.scan.rows,
        seed=arguments.data_seed if arguments.data_seed is not None else arguments.seed,
        buffer=config.data.streaming_buffer,
        step_rows=step_rows if grouped else None,
        rank=arguments.process_index,
        world_size=arguments.world_size,
    )


def build_trainer(
    prepared: Prepared,
    model: PreTrainedModel | Callable[[], PreTrainedModel],
    config: RunConfig,
    *,
    rows: Dataset | None = None,
    title: str = "",
) -> ZLPRTrainer:
    """Build the trainer of a run; a function that builds models serves the trials of a search.

    ``rows`` are the training rows (default: all), and ``title`` is shown with the progress. A
    cross-fitted run has no rows to validate on.

    The trainer never pushes: its own push would include checkpoints and replace the card.
    """
    arguments = copy.copy(config.training)
    arguments.push_to_hub = False
    arguments.hub_token = None  # integrations and files of the trainer never see it
    arguments.large_label_space = prepared.large
    num_labels = prepared.data.label_space.num_labels
    is_cross_fitted = prepared.data.folds is not None
    try:
        trainer = ZLPRTrainer(
            **{"model" if isinstance(model, nn.Module) else "model_init": model},
            args=arguments,
            train_dataset=_train_rows(prepared, config) if rows is None else rows,
            eval_dataset=None if is_cross_fitted else prepared.encoded["validation"],
            data_collator=MultiLabelCollator(prepared.tokenizer, num_labels, as_ids=prepared.large),
            processing_class=prepared.tokenizer,
            loss=prepared.loss,
        )
    except OSError as error:
        where = arguments.output_dir
        raise InputError(f"{where}: cannot create it: {error.strerror} (output_dir)") from error
    except (ImportError, RuntimeError, ValueError) as error:
        raise InputError(" ".join(str(error).split())) from error
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(TrainingProgress(title))
    return trainer
