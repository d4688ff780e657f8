"""Defaults that are chosen from the data and the encoder: options left at ``auto``."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.models.size import count_layer_weights
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.model_arguments import ModelArguments

LEARNING_RATES = ((30e6, 3e-4), (200e6, 5e-5), (math.inf, 2e-5))
"""Largest number of weights outside the embeddings, and the learning rate up to it."""
LORA_LEARNING_RATE = 3e-4
"""Least learning rate of adapters, which start from zero."""
BATCH_SIZES = ((1_000, 16), (20_000, 32), (math.inf, 64))
"""Largest number of training rows, and the rows per step up to it, over all processes."""
STEPS = 1_000
"""Optimizer steps that the number of epochs aims at, within EPOCHS."""
EPOCHS = (2, 8)
FOLD_STEPS = 110
"""Optimizer steps that the epochs of a cross-fitted run aim at, within FOLD_EPOCHS."""
FOLD_EPOCHS = (8, 20)
FEW_ROWS = 2_000
"""Most training rows with a contrastive loss and no dropout; others use the rates of the model."""
LABELLED_SHARE = 0.5
"""Least share of rows with a label for both. They gain where at least 92 % of the rows have one;
where a tenth has (Jigsaw), rare labels are missed. Nothing between was measured."""
MIN_BATCH = 4
"""Fewest texts of a pass for both: the contrastive loss compares them with one another."""
FEW_CONTRASTIVE_ALPHA = 1.0
FEW_DROPOUT = 0.0
OFF = {"contrastive_alpha": 0.0, "dropout": None}
"""Values that mean "unchanged"; the printed line leaves them out."""
MAX_LENGTHS = (32, 128)
"""Least and greatest maximum length; the greatest bounds the cost of a step."""
LENGTH_QUANTILE = 0.95
"""Share of the training texts that the maximum length does not cut, if 128 tokens allow it."""
LENGTH_STEP = 16
SAMPLE = 1_000


def choose_defaults(
    config: RunConfig, data: LabelledData, tokenizer: PreTrainedTokenizerBase, *, large: bool
) -> RunConfig:
    """Return the configuration with values for all options that were left at ``auto``.

    A large label space (``large``) has no contrastive loss.
    """
    chosen: dict[str, Any] = {}
    if "max_length" in config.auto:
        chosen["max_length"] = choose_max_length(count_tokens(data, tokenizer), tokenizer)
    rows = count_rows(data)
    training = config.training
    replicas = max(1, training.n_gpu)
    processes = max(1, training.world_size) * replicas
    if "per_device_train_batch_size" in config.auto:
        step_rows = _up_to(rows, BATCH_SIZES)
        share = processes * training.gradient_accumulation_steps
        chosen["per_device_train_batch_size"] = max(1, round(step_rows / share))
    batch = chosen.get("per_device_train_batch_size", training.per_device_train_batch_size)
    few = (
        rows <= FEW_ROWS
        and count_labelled_rows(data) >= LABELLED_SHARE * rows
        and batch * replicas >= MIN_BATCH
    )
    if "contrastive_alpha" in config.auto:
        chosen["contrastive_alpha"] = FEW_CONTRASTIVE_ALPHA if few and not large else 0.0
    if "dropout" in config.auto:  # R-Drop compares passes with different dropout
        chosen["dropout"] = FEW_DROPOUT if few and not training.rdrop_alpha else None
    if "num_train_epochs" in config.auto:
        step_rows = batch * processes * training.gradient_accumulation_steps
        steps = math.ceil(rows / step_rows)
        epochs = choose_epochs(steps, cross_fitted=data.folds is not None)
        chosen["num_train_epochs"] = float(epochs)  # as train_config.yaml is read
    if "learning_rate" in config.auto:
        chosen["learning_rate"] = choose_learning_rate(config.model)
    return with_values(config, chosen)


def with_values(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """Return the configuration with these values for options of the model and the training."""
    model = {name: value for name, value in values.items() if hasattr(config.model, name)}
    training = copy.copy(config.training)  # the caller's arguments stay as they are
    for name in values.keys() - model.keys():
        setattr(training, name, values[name])
    return replace(
        config,
        model=replace(config.model, **model),
        training=training,
        auto=config.auto - values.keys(),
    )


def render_defaults(config: RunConfig, auto: frozenset[str]) -> str:
    """Return the chosen values in one line, without those that are off; empty without any."""
    values = vars(config.model) | vars(config.training)
    cells = [f"{name} {values[name]:g}" for name in sorted(auto) if values[name] != OFF.get(name)]
    return f"auto: {' · '.join(cells)}" if cells else ""


def count_rows(data: LabelledData) -> int:
    """Return the number of training rows."""
    return data.scan.rows if isinstance(data, StreamedData) else len(data.splits["train"])


def count_labelled_rows(data: LabelledData) -> int:
    """Return the number of training rows with a label."""
    if isinstance(data, StreamedData):
        return data.scan.labelled_rows
    rows = data.splits["train"]["label_values"]
    return sum(any(value >= 0.5 for value in values) for values in rows)


def count_tokens(data: LabelledData, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the lengths in tokens of up to 1,000 training texts."""
    if isinstance(data, StreamedData):
        texts: Sequence[Any] = data.scan.sample[:SAMPLE]
    else:
        texts = data.texts("train")
        chosen = random.Random(0).sample(range(len(texts)), min(SAMPLE, len(texts)))
        texts = [texts[index] for index in sorted(chosen)]
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded = tokenizer(*columns, truncation=False, verbose=False)
    return [len(ids) for ids in encoded["input_ids"]]


def choose_max_length(lengths: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """Return a length in tokens that cuts few texts, and that the model allows."""
    least, most = MAX_LENGTHS
    wanted = math.ceil(np.quantile(lengths, LENGTH_QUANTILE) / LENGTH_STEP) * LENGTH_STEP
    return int(min(max(least, wanted), most, tokenizer.model_max_length))


def choose_epochs(steps_per_epoch: int, *, cross_fitted: bool = False) -> int:
    """Return the number of epochs that comes near to 1,000 steps, or 110 in a cross-fitted run."""
    steps, (least, most) = (FOLD_STEPS, FOLD_EPOCHS) if cross_fitted else (STEPS, EPOCHS)
    return min(max(least, math.ceil(steps / steps_per_epoch)), most)


def choose_learning_rate(model: ModelArguments) -> float:
    """Return the learning rate of the encoder, by its size."""
    weights = count_layer_weights(
        model.model_name_or_path,
        revision=model.model_revision,
        trust_remote_code=model.trust_remote_code,
    )
    rate = LEARNING_RATES[1][1] if weights is None else float(_up_to(weights, LEARNING_RATES))
    return max(rate, LORA_LEARNING_RATE) if model.use_peft else rate


def _up_to(value: int, table: Sequence[tuple[float, Any]]) -> Any:
    return next(chosen for most, chosen in table if value <= most)
