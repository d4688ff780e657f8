"""What can be found wrong with the arguments of a run before anything is read or written."""

from __future__ import annotations

import difflib
from typing import get_args

import numpy as np

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Pooling
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.errors import InputError
from zlpr_hf.losses.modules import LOSSES
from zlpr_hf.metrics.multi_label import compute_multi_label_metrics
from zlpr_hf.metrics.top_k import LARGE, TopK, compute_top_k_metrics
from zlpr_hf.models.lora import SAVE_FORMS
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.arguments import DataArguments, ModelArguments


def check_choices(
    model_args: ModelArguments, data_args: DataArguments, training_args: ZLPRTrainingArguments
) -> None:
    """Refuse values that are none of those there are, and options that exclude one another.

    Args:
        model_args: The encoder and its head.
        data_args: The data set.
        training_args: Everything for the trainer.

    Raises:
        InputError: With what was expected and what came.
    """
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
        _check_streaming(model_args, data_args, training_args)
    loss = training_args.loss
    if loss == "powerset" and model_args.tune_thresholds != "none":
        raise InputError(
            "tune_thresholds: loss powerset chooses among whole label sets, which no offset of a "
            f"label can change; expected none, got {model_args.tune_thresholds!r}"
        )
    teacher = model_args.teacher_model_name_or_path
    column = data_args.teacher_logits_column
    if teacher and column:
        raise InputError("expected teacher_model_name_or_path or teacher_logits_column, got both")
    if (teacher or column) and loss != "zlpr":
        option = "teacher_model_name_or_path" if teacher else "teacher_logits_column"
        raise InputError(
            f"{option}: distillation uses the divergence of the loss zlpr; got loss {loss}"
        )


def _check_streaming(
    model_args: ModelArguments, data_args: DataArguments, training_args: ZLPRTrainingArguments
) -> None:
    """Whatever needs all training rows at once cannot be had where they are never held."""
    if data_args.streaming_buffer < 1:
        raise InputError(f"streaming_buffer: expected 1 or more, got {data_args.streaming_buffer}")
    in_the_way = {
        f"loss {training_args.loss}": hasattr(LOSSES[training_args.loss], "fit"),
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


def is_large_label_space(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ZLPRTrainingArguments,
    *,
    num_labels: int,
    hard: bool,
) -> bool:
    """Whether head and loss are to be computed in chunks, as asked or by the number of labels.

    Args:
        model_args: The encoder and its head.
        data_args: The data set.
        training_args: Everything for the trainer.
        num_labels: ``L``.
        hard: Whether all labels are known, and there or not.

    Returns:
        The answer. Where it was not asked for, whatever needs all logits or soft labels says no.

    Raises:
        InputError: If it was asked for together with something of that kind.
    """
    asked = training_args.large_label_space
    if asked is False or (asked is None and num_labels <= LARGE):
        return False
    in_the_way = {
        "soft or unknown labels": not hard,
        f"loss {training_args.loss}": training_args.loss != "zlpr",
        "label_smoothing_factor": training_args.label_smoothing_factor,
        "rdrop_alpha": training_args.rdrop_alpha,
        "teacher_model_name_or_path": model_args.teacher_model_name_or_path,
        "teacher_logits_column": data_args.teacher_logits_column,
        "use_peft": model_args.use_peft,
        "save_logits": model_args.save_logits,
        "tune_thresholds per_label": model_args.tune_thresholds == "per_label",
    }
    found = [name for name, there in in_the_way.items() if there]
    if asked and found:
        raise InputError(f"large_label_space: cannot be had together with {', '.join(found)}")
    return not found


def check_best_metric(arguments: ZLPRTrainingArguments, num_labels: int) -> None:
    """Refuse a metric that the trainer would look up in vain, perhaps hours into the run.

    Args:
        arguments: Everything for the trainer.
        num_labels: ``L``, on which the names of some metrics depend.

    Raises:
        InputError: With the nearest name, or all there are.
    """
    name = (arguments.metric_for_best_model or "loss").removeprefix("eval_")
    if arguments.large_label_space:
        example = TopK(np.eye(5, dtype=np.float32), np.tile(np.arange(5), (5, 1)), 5)
        known = set(compute_top_k_metrics(example, np.zeros((5, 1), np.int64)))
        check_name("metric_for_best_model", name, {"loss"} | known)
    else:
        check_metric("metric_for_best_model", name, {"loss"}, num_labels)


def check_metric(option: str, name: str, others: set[str], num_labels: int) -> None:
    """Refuse the name of a metric that does not exist.

    Args:
        option: What the user set.
        name: What it was set to.
        others: Names besides the multi-label metrics that will do.
        num_labels: ``L``, on which the names of some metrics depend.

    Raises:
        InputError: With the nearest name, or all there are.
    """
    example = np.eye(num_labels)
    check_name(option, name, others | set(compute_multi_label_metrics(example, example)))


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
