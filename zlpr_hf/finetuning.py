"""The whole flow of a fine-tuning run, once, in order."""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset
from numpy.typing import NDArray
from transformers import ProgressCallback, set_seed

from zlpr_hf.arguments import DataArguments, ModelArguments, save_config
from zlpr_hf.checkpoints import (
    CONFIG_FILE,
    PROFILE_FILE,
    RESULTS_FILE,
    check_same_task,
    clear_run,
    find_resume_checkpoint,
)
from zlpr_hf.data.collator import MultiLabelCollator
from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.encoding import encode
from zlpr_hf.data.label_columns import LabelColumns, read_label_names
from zlpr_hf.data.profile import compute_profile
from zlpr_hf.data.sources import load_source
from zlpr_hf.errors import InputError
from zlpr_hf.head_init import init_head_from_label_names
from zlpr_hf.label_space import LabelSpace
from zlpr_hf.metrics import (
    compute_decision_metrics,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.modeling import classification_head, is_trained_for, load_model, load_tokenizer
from zlpr_hf.progress import BriefProgress
from zlpr_hf.report import MODEL_ROW, Report
from zlpr_hf.thresholds import DECISION_METRICS, LABEL_METRICS, Thresholds, fit_thresholds
from zlpr_hf.trainer import ZLPRTrainer, ZLPRTrainingArguments
from zlpr_hf.yardsticks import predict_most_frequent_set, predict_tfidf_svm

HEAD_INIT_TEXTS = 512


def finetune(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ZLPRTrainingArguments,
    *,
    say: Callable[[str], None] = print,
) -> Report:
    """Read data, fine-tune, tune thresholds if asked, evaluate, save.

    Everything that can be wrong with the input is found before the first file is written.

    Args:
        model_args: The encoder and its head.
        data_args: The data set.
        training_args: Everything for the trainer, ``output_dir`` and ``seed`` among it.
        say: Receives the data profile and notes, on the main process.

    Returns:
        All numbers of the run; the same are in ``output_dir/results.json``.

    Raises:
        InputError: If an argument, a file or a row is not what was expected.
    """
    _check_choices(model_args)
    output_dir = Path(str(training_args.output_dir))
    checkpoint = find_resume_checkpoint(
        output_dir, training_args.resume_from_checkpoint, overwrite=data_args.overwrite_output_dir
    )
    data = load_data(data_args)
    tokenizer = load_tokenizer(model_args.model_name_or_path, revision=model_args.model_revision)
    encoded = {
        name: encode(
            rows, tokenizer, max_length=model_args.max_length, description=f"tokenise {name}"
        )
        for name, rows in data.splits.items()
    }
    # So that whoever loads the checkpoint cuts texts where training cut them.
    tokenizer.model_max_length = model_args.max_length
    profile = compute_profile(data, encoded)
    described = _read_descriptions(model_args.label_descriptions_file)
    unknown = [name for name in described if name not in data.label_space.label2id]
    if unknown:
        raise InputError(f"{model_args.label_descriptions_file}: {unknown[0]!r} is not a label")

    set_seed(training_args.seed)
    model = load_model(
        model_args.model_name_or_path,
        data.label_space,
        loss=training_args.loss,
        pooling=model_args.pooling,  # type: ignore[arg-type]
        revision=model_args.model_revision,
    )
    if checkpoint is not None:
        check_same_task(checkpoint, data.label_space, getattr(model.config, "num_hidden_layers", 0))
    elif _starts_from_names(model_args, data.label_space):
        texts = data.splits["train"]["text"]
        sample = random.Random(0).sample(list(texts), min(HEAD_INIT_TEXTS, len(texts)))
        init_head_from_label_names(
            model,
            tokenizer,
            data.label_space,
            sample,
            descriptions=data.label_descriptions | described,
            max_length=model_args.max_length,
        )
    _check_best_metric(training_args, data.label_space.num_labels)
    try:
        trainer = ZLPRTrainer(
            model=model,
            args=training_args,
            train_dataset=encoded["train"],
            eval_dataset=encoded["validation"],
            data_collator=MultiLabelCollator(tokenizer, data.label_space.num_labels),
            processing_class=tokenizer,
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        # A folder that cannot be made, or an integration that is not installed.
        raise InputError(" ".join(str(error).split())) from error
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(BriefProgress)
    main_process = trainer.is_world_process_zero()
    if main_process and checkpoint is None and data_args.overwrite_output_dir:
        clear_run(output_dir)
    if main_process:
        say(profile.render())
        save_config(output_dir / CONFIG_FILE, (model_args, data_args, training_args))
        profile.save(output_dir / PROFILE_FILE)
        if checkpoint is not None:
            say(f"going on from {checkpoint}")
        elif str(training_args.resume_from_checkpoint).lower() == "true":
            say(f"no whole checkpoint in {output_dir}: starting from the beginning")
    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.monotonic() - started

    logits = {name: predict_logits(trainer, encoded[name]) for name in ("validation", "test")}
    targets = {name: data.targets(name) for name in ("train", "validation", "test")}
    thresholds = Thresholds()
    if model_args.tune_thresholds != "none":
        thresholds = fit_thresholds(
            logits["validation"],
            targets["validation"],
            metric=model_args.threshold_metric,
            scope=model_args.tune_thresholds,  # type: ignore[arg-type]
        )
    untuned = logits["test"]
    if thresholds.offsets:
        thresholds.fold_into(classification_head(model), model.config)
        logits = {
            name: values - np.asarray(thresholds.offsets, np.float32)
            for name, values in logits.items()
        }
    trainer.save_model(str(output_dir))
    test = _yardstick_metrics(data, targets) if main_process else {}
    if thresholds.offsets:
        test["before tuning thresholds"] = compute_multi_label_metrics(untuned, targets["test"])
    test[MODEL_ROW] = compute_multi_label_metrics(logits["test"], targets["test"])
    report = Report(
        output_dir=str(output_dir),
        test=test,
        validation=compute_multi_label_metrics(logits["validation"], targets["validation"]),
        label_scores=compute_label_scores(logits["test"], targets["test"], data.label_space.names),
        thresholds=thresholds,
        profile=profile,
        training={
            "steps": trainer.state.global_step,
            "seconds": seconds,
            "loss": outcome.training_loss,
            "seed": training_args.seed,
            "bf16": training_args.bf16,
            "processes": training_args.world_size,
            "resumed_from": None if checkpoint is None else checkpoint.name,
        },
    )
    if main_process:
        report.save(output_dir / RESULTS_FILE)
    return report


def load_data(arguments: DataArguments) -> LabelledData:
    """Read a data set as the arguments describe it.

    Args:
        arguments: The data set.

    Returns:
        Its splits, all of them.

    Raises:
        InputError: If an argument, a file or a row is not what was expected.
    """
    files = {
        split: path
        for split, path in (
            ("train", arguments.train_file),
            ("validation", arguments.validation_file),
            ("test", arguments.test_file),
        )
        if path is not None
    }
    names_file = arguments.label_names_file
    labels = LabelColumns(
        column=arguments.label_column,
        columns=tuple(arguments.label_columns or ()),
        form=arguments.label_form,  # type: ignore[arg-type]
        delimiter=arguments.label_delimiter,
        names=None if names_file is None else read_label_names(Path(names_file)),
    )
    data = build_labelled_data(
        load_source(
            dataset_name=arguments.dataset_name,
            dataset_config_name=arguments.dataset_config_name,
            data_dir=arguments.data_dir,
            files=files,
        ),
        labels,
        text_column=arguments.text_column,
        text_pair_column=arguments.text_pair_column,
        group_column=arguments.group_column,
        validation_size=arguments.validation_size,
        test_size=arguments.test_size,
        split_seed=arguments.split_seed,
        unseen_labels=arguments.unseen_labels,
    )
    if arguments.max_train_samples is not None:
        if arguments.max_train_samples < 1:
            raise InputError(
                f"max_train_samples: expected 1 or more, got {arguments.max_train_samples}"
            )
        rows = data.splits["train"]
        data.splits["train"] = rows.select(range(min(arguments.max_train_samples, len(rows))))
    return data


def predict_logits(trainer: ZLPRTrainer, rows: Dataset) -> NDArray[np.float32]:
    """Logits in the order of the rows; computed longest first, so that batches pad little.

    Args:
        trainer: A trainer with its collator.
        rows: Encoded rows with ``length``.

    Shape:
        Result: ``(N, L)``.

    Returns:
        Logits in float32.
    """
    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    # Metrics are computed once, from all logits in order, and not by the trainer.
    compute_metrics, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        predicted = trainer.predict(rows.select(order)).predictions
    finally:
        trainer.compute_metrics = compute_metrics
    if np.isnan(predicted).any():
        raise InputError(
            "training went wrong: logits are NaN; lower learning_rate, or set bf16 false"
        )
    logits = np.empty_like(predicted, dtype=np.float32)
    logits[order] = predicted
    return logits


def _check_choices(arguments: ModelArguments) -> None:
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("pooling", arguments.pooling, ("first", "mean")),
        ("head_init", arguments.head_init, ("auto", "random", "label_names")),
        ("tune_thresholds", arguments.tune_thresholds, ("none", "global", "per_label")),
        (
            "threshold_metric",
            arguments.threshold_metric,
            LABEL_METRICS if arguments.tune_thresholds == "per_label" else DECISION_METRICS,
        ),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise InputError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _check_best_metric(arguments: ZLPRTrainingArguments, num_labels: int) -> None:
    """The trainer looks the metric up after the first epoch, which may be hours into a run."""
    name = (arguments.metric_for_best_model or "loss").removeprefix("eval_")
    example = np.eye(num_labels)
    known = {"loss", *compute_multi_label_metrics(example, example)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
        raise InputError(f"metric_for_best_model: unknown metric {name!r}{hint}")


def _starts_from_names(arguments: ModelArguments, label_space: LabelSpace) -> bool:
    if arguments.head_init == "auto":
        # A head that was trained for these labels is better than their names.
        return arguments.pooling == "mean" and not is_trained_for(
            arguments.model_name_or_path, label_space, revision=arguments.model_revision
        )
    return arguments.head_init == "label_names"


def _read_descriptions(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: expected 'label: description' lines: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected 'label: description' lines")
    return {str(name): str(words) for name, words in content.items()}


def _yardstick_metrics(
    data: LabelledData, targets: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, float]]:
    frequent = predict_most_frequent_set(targets["train"], len(targets["test"]))
    texts = {
        name: [" ".join(parts) for parts in zip(*_text_columns(data.splits[name]), strict=True)]
        for name in ("train", "test")
    }
    machine = predict_tfidf_svm(texts["train"], targets["train"], texts["test"])
    metrics = {"most frequent label set": compute_decision_metrics(frequent, targets["test"])}
    if machine is not None:
        metrics["TF-IDF + linear SVM"] = compute_decision_metrics(machine, targets["test"])
    return metrics


def _text_columns(rows: Dataset) -> list[list[str]]:
    return [list(rows[name]) for name in ("text", "text_pair") if name in rows.column_names]
