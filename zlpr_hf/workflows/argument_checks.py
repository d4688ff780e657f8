"""What can be found wrong with the arguments of a run before anything is read or written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import get_args

import numpy as np

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Pooling
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.errors import InputError
from zlpr_hf.losses.registry import LOSSES, losses_with
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.metrics.top_k import LARGE, TopK, compute_top_k_metrics
from zlpr_hf.models.lora import SAVE_FORMS
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.arguments import RunConfig


def check_choices(config: RunConfig) -> None:
    """Raise an InputError for unknown choices and for options that exclude one another."""
    model_args, data_args, training_args = config.model, config.data, config.training
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("pooling", model_args.pooling, get_args(Pooling)),
        ("head_init", model_args.head_init, ("auto", "random", "label_names")),
        ("tune_thresholds", model_args.tune_thresholds, ("none", "global", "per_label")),
        ("peft_save", model_args.peft_save, SAVE_FORMS),
        (
            "threshold_metric",
            model_args.threshold_metric,
            LABEL_METRICS if model_args.tune_thresholds == "per_label" else DECISION_METRICS,
        ),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise InputError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    if model_args.dropout is not None and not 0 <= model_args.dropout < 1:
        raise InputError(f"dropout: expected 0 to below 1, got {model_args.dropout:g}")
    if model_args.use_peft and model_args.lora_rank < 1:
        raise InputError(f"lora_rank: expected 1 or more, got {model_args.lora_rank}")
    if model_args.use_peft and not 0 <= model_args.lora_dropout < 1:
        raise InputError(f"lora_dropout: expected 0 to below 1, got {model_args.lora_dropout}")
    if data_args.streaming:
        _check_streaming(config)
    loss = training_args.loss
    if LOSSES[loss].predicts_label_sets and model_args.tune_thresholds != "none":
        raise InputError(
            f"tune_thresholds: loss {loss} predicts whole label sets, which offsets per label "
            f"cannot change; expected none, got {model_args.tune_thresholds!r}"
        )
    teacher = model_args.teacher_model_name_or_path
    column = data_args.teacher_logits_column
    if teacher and column:
        raise InputError("expected teacher_model_name_or_path or teacher_logits_column, got both")
    if (teacher or column) and not LOSSES[loss].has_divergence:
        option = "teacher_model_name_or_path" if teacher else "teacher_logits_column"
        raise InputError(
            f"{option}: distillation needs a loss with a divergence "
            f"({losses_with('has_divergence')}), got loss {loss}"
        )


def _check_streaming(config: RunConfig) -> None:
    """Refuse options that need all training rows at once."""
    model_args, data_args, training_args = config.model, config.data, config.training
    if data_args.streaming_buffer < 1:
        raise InputError(f"streaming_buffer: expected 1 or more, got {data_args.streaming_buffer}")
    in_the_way = {
        f"loss {training_args.loss}": LOSSES[training_args.loss].needs_train_targets,
        "teacher_model_name_or_path": model_args.teacher_model_name_or_path,
        "teacher_logits_column": data_args.teacher_logits_column,
        "group_column": data_args.group_column,
        "max_train_samples": data_args.max_train_samples is not None,
        "dataloader_persistent_workers": training_args.dataloader_persistent_workers,
        f"the built-in corpus {data_args.dataset_name}": data_args.dataset_name in CORPORA,
    }
    found = [name for name, there in in_the_way.items() if there]
    if found:
        raise InputError(f"streaming: cannot be had together with {', '.join(found)}")


def is_large_label_space(config: RunConfig, *, num_labels: int, hard: bool) -> bool:
    """Decide whether head and loss are computed in chunks of labels.

    Without a choice in the configuration this depends on the number of labels, and options that
    need all logits or soft labels prevent it.

    Args:
        config: The run.
        num_labels: Number of labels.
        hard: True if every target is known and either 0 or 1.

    Raises:
        InputError: If the configuration asks for it together with such an option.
    """
    model_args, training_args = config.model, config.training
    asked = training_args.large_label_space
    if asked is False or (asked is None and num_labels <= LARGE):
        return False
    in_the_way = {
        "soft or unknown labels": not hard,
        f"loss {training_args.loss}": not LOSSES[training_args.loss].supports_large_label_space,
        "label_smoothing_factor": training_args.label_smoothing_factor,
        "rdrop_alpha": training_args.rdrop_alpha,
        "teacher_model_name_or_path": model_args.teacher_model_name_or_path,
        "teacher_logits_column": config.data.teacher_logits_column,
        "use_peft": model_args.use_peft,
        "save_logits": model_args.save_logits,
        "tune_thresholds per_label": model_args.tune_thresholds == "per_label",
    }
    found = [name for name, there in in_the_way.items() if there]
    if asked and found:
        raise InputError(f"large_label_space: cannot be had together with {', '.join(found)}")
    return not found


def check_best_metric(arguments: ZLPRTrainingArguments, num_labels: int, *, large: bool) -> None:
    """Refuse an unknown ``metric_for_best_model``, which the trainer would miss late in the run."""
    name = (arguments.metric_for_best_model or "loss").removeprefix("eval_")
    check_metric("metric_for_best_model", name, num_labels, others={"loss"}, large=large)


def check_metric(
    option: str, name: str, num_labels: int, *, others: Iterable[str] = (), large: bool = False
) -> None:
    """Refuse the name of a metric that does not exist.

    Args:
        option: The option, for the message.
        name: Its value.
        num_labels: Number of labels; the names of some metrics depend on it.
        others: Names that are valid besides the metrics.
        large: True for the metrics of a large label space.
    """
    if large:
        top_k = TopK(np.eye(5, dtype=np.float32), np.tile(np.arange(5), (5, 1)), 5)
        known = set(compute_top_k_metrics(top_k, np.zeros((5, 1), np.int64)))
    else:
        example = np.eye(num_labels)
        known = set(compute_multi_label_metrics(example, example))
    check_name(option, name, known | set(others))


def check_name(option: str, name: str, known: set[str]) -> None:
    """Refuse a name that is not among those there are.

    Args:
        option: What the user set.
        name: What it was set to.
        known: All that will do.

    Raises:
        InputError: With the nearest name, or all there are.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
        raise InputError(f"{option}: unknown metric {name!r}{hint}")
