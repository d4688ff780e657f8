"""Checks of a run's options before anything is read or written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zlpr_hf.choices import LABEL_METRICS, Range
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import example_loss, losses_with
from zlpr_hf.metrics.names import metric_names, top_k_metric_names
from zlpr_hf.metrics.top_k import MAX_DENSE_LABELS
from zlpr_hf.training.arguments import REGULARISERS, ZLPRTrainingArguments
from zlpr_hf.workflows.arguments import RunConfig


def check_config(config: RunConfig) -> None:
    """Raise an InputError for invalid values, and for options that exclude one another."""
    model, data = config.model, config.data
    for part in (model, data):
        check_fields(part)
    if model.tune_thresholds == "per_label" and model.threshold_metric not in LABEL_METRICS:
        raise InputError(
            f"threshold_metric: expected one of {', '.join(LABEL_METRICS)} for tune_thresholds "
            f"per_label, got {model.threshold_metric!r}"
        )
    if model.load_in_4bit and not model.use_peft:
        raise InputError("load_in_4bit: weights in 4 bits cannot be trained; set use_peft true too")
    if data.streaming:
        _check_streaming(config)
    loss, facts = config.training.loss, _loss_facts(config)
    if facts.predicts_label_sets and model.tune_thresholds not in ("auto", "none"):
        raise InputError(
            f"tune_thresholds: loss {loss} predicts whole label sets, which offsets per label "
            f"cannot change; expected none, got {model.tune_thresholds!r}"
        )
    if facts.predicts_label_sets and model.min_labels:
        raise InputError(
            f"min_labels: loss {loss} predicts whole label sets; expected 0, got {model.min_labels}"
        )
    sources = {
        "teacher_model_name_or_path": model.teacher_model_name_or_path,
        "teacher_logits_column": data.teacher_logits_column,
    }
    teachers = [option for option, value in sources.items() if value]
    if len(teachers) > 1:
        raise InputError(f"expected {' or '.join(teachers)}, got both")
    if data.weight_column and facts.couples_rows:
        raise InputError(
            f"weight_column: loss {loss} compares the rows of a batch and cannot weigh them; "
            "expected another loss"
        )
    if teachers and not facts.has_divergence:
        raise InputError(
            f"{teachers[0]}: distillation needs a loss with a divergence "
            f"({losses_with('has_divergence')} with default hyper-parameters), got loss {loss}"
        )


def _loss_facts(config: RunConfig) -> MultiLabelLoss:
    training = config.training
    return example_loss(training.loss, training.loss_kwargs)  # type: ignore[arg-type]


def check_fields(arguments: Any) -> None:
    """Refuse values outside of the ``Literal`` or the :class:`Range` of a dataclass field."""
    for name, hint in get_type_hints(type(arguments), include_extras=True).items():
        value = getattr(arguments, name)
        for kind in (hint, *get_args(hint)):
            if get_origin(kind) is Literal and value not in get_args(kind):
                expected = ", ".join(get_args(kind))
                raise InputError(f"{name}: expected one of {expected}, got {value!r}")
            for limits in getattr(kind, "__metadata__", ()):
                if not isinstance(limits, Range) or value is None:
                    continue
                if not isinstance(value, (int, float)) or value not in limits:
                    raise InputError(f"{name}: expected {limits}, got {value!r}")


def _check_streaming(config: RunConfig) -> None:
    """Refuse options that need all training rows at once."""
    training, data = config.training, config.data
    needs_all_rows = {
        f"loss {training.loss}": _loss_facts(config).needs_train_targets,
        "teacher_model_name_or_path": config.model.teacher_model_name_or_path,
        "teacher_logits_column": data.teacher_logits_column,
        "weight_column": data.weight_column,
        "group_column": data.group_column,
        "folds": data.folds,
        "max_train_samples": data.max_train_samples is not None,
        "dataloader_persistent_workers": training.dataloader_persistent_workers,
        f"the built-in corpus {data.dataset_name}": data.dataset_name in CORPORA,
    }
    found = [option for option, is_set in needs_all_rows.items() if is_set]
    if found:
        raise InputError(f"streaming: cannot be combined with {', '.join(found)}")


def is_large_label_space(config: RunConfig, *, num_labels: int, hard: bool) -> bool:
    """Decide whether head and loss are computed in chunks of labels.

    By default this depends on the number of labels; options that need all logits, and targets that
    are not all 0 or 1 (``hard``), prevent it, and are an error if the configuration asks for it.
    """
    model, training = config.model, config.training
    wanted = training.large_label_space
    if wanted is False or (wanted is None and num_labels <= MAX_DENSE_LABELS):
        return False
    tuning = model.tune_thresholds
    needs_all_logits = {
        "soft or unknown labels": not hard,
        f"loss {training.loss}": not _loss_facts(config).supports_large_label_space,
        **{name: getattr(training, name) for name in REGULARISERS},
        "teacher_model_name_or_path": model.teacher_model_name_or_path,
        "teacher_logits_column": config.data.teacher_logits_column,
        "weight_column": config.data.weight_column,
        "use_peft": model.use_peft,
        "save_logits": model.save_logits,
        f"long_texts {model.long_texts}": model.long_texts in ("mean", "max"),
        "min_labels": model.min_labels,
        f"tune_thresholds {tuning}": tuning in ("rare_labels", "shrunk", "per_label"),
    }
    found = [option for option, is_set in needs_all_logits.items() if is_set]
    if wanted and found:
        raise InputError(f"large_label_space: cannot be combined with {', '.join(found)}")
    return not found


def check_best_metric(arguments: ZLPRTrainingArguments, num_labels: int, *, large: bool) -> None:
    """Refuse an unknown ``metric_for_best_model``, which the trainer would miss late in the run."""
    name = (arguments.metric_for_best_model or "loss").removeprefix("eval_")
    check_metric("metric_for_best_model", name, num_labels, others={"loss"}, large=large)


def check_metric(
    option: str, name: str, num_labels: int, *, others: Iterable[str] = (), large: bool = False
) -> None:
    """Refuse the name of a metric that does not exist; ``others`` are valid besides the metrics."""
    known = {*(top_k_metric_names() if large else metric_names(num_labels)), *others}
    if name not in known:
        hint = suggest(name, known, otherwise=f"; expected one of {', '.join(sorted(known))}")
        raise InputError(f"{option}: unknown metric {name!r}{hint}")
