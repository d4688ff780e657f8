"""Preparation of a run: data, token ids, loss and trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProgressCallback,
    SchedulerType,
)

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.data.profile import DataProfile, compute_profile, compute_streamed_profile
from zlpr_hf.data.sources import Source
from zlpr_hf.data.streaming.batches import StreamedRows
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.errors import InputError
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import build_loss
from zlpr_hf.models.tokenizer import load_tokenizer
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.training.progress import TrainingProgress
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.argument_checks import check_best_metric, is_large_label_space
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.auto_defaults import choose_defaults
from zlpr_hf.workflows.earlier_runs import EarlierRuns
from zlpr_hf.workflows.load_data import load_data


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
    if folds and training.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
        raise InputError(
            "lr_scheduler_type: reduce_lr_on_plateau needs validation rows, which a cross-fitted "
            "run does not have; choose another one such as linear, or set folds 0"
        )
    if folds and training.large_label_space:
        raise InputError("folds: not supported in a large label space; set folds 0")
    large = not folds and is_large_label_space(config, num_labels=num_labels, hard=data.is_hard)
    check_best_metric(training, num_labels, large=large)
    streamed = isinstance(data, StreamedData)
    loss = fit_loss(training, None if large or streamed else data.targets("train"))
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


def fit_loss(
    training: ZLPRTrainingArguments, train_targets: NDArray[np.float32] | None
) -> MultiLabelLoss:
    """Build the loss of a run; some need the frequencies or sets of labels in training."""
    return build_loss(
        training.loss,
        reduction="none",
        train_targets=train_targets,
        **training.loss_kwargs,  # type: ignore[arg-type]  # a mapping once it is checked
    )


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
