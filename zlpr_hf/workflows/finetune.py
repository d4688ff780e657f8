"""The whole flow of a fine-tuning run, once, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from transformers import set_seed

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.models.lora import merge_lora
from zlpr_hf.reports.html import render_html_report
from zlpr_hf.reports.model_card import CardFacts, read_emissions, write_model_card
from zlpr_hf.reports.provenance import Provenance
from zlpr_hf.reports.report import MODEL_ROW, Report
from zlpr_hf.reports.sanity_checks import check_run
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.training.callbacks import BriefProgress, TrainingCost
from zlpr_hf.training.distillation import Teacher
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.argument_checks import check_config
from zlpr_hf.workflows.arguments import DataArguments, ModelArguments, RunConfig, save_config
from zlpr_hf.workflows.baselines import compute_baselines
from zlpr_hf.workflows.logits import save_logits
from zlpr_hf.workflows.outcome import Outcome, evaluate_run, evaluate_top_k
from zlpr_hf.workflows.output_dir import (
    CONFIG_FILE,
    LOGITS_FILE,
    PROFILE_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    clear_leftovers,
    clear_run,
    find_resume_checkpoint,
    is_unfinished,
    run_end,
)
from zlpr_hf.workflows.prepare import Prepared, build_model, build_trainer, prepare
from zlpr_hf.workflows.push import check_access

logger = logging.getLogger(__name__)

SPEEDUPS_NOTE = (
    "cpu_speedups: on (--cpu_speedups false trains with the dropout and attention of torch)"
)


def finetune(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ZLPRTrainingArguments,
    *,
    data: LabelledData | None = None,
    log: Callable[[str], None] = print,
) -> Report:
    """Read data, fine-tune, tune thresholds if asked, evaluate, save.

    Everything that can be wrong with the input is found before the first file is written, with
    ``push_to_hub`` also whether the Hub would take the model. Pushing is left to the caller:
    :func:`zlpr_hf.workflows.push.push_folder`. Several processes call it alike; the main one
    writes.

    Args:
        model_args: The encoder and its head.
        data_args: The data set.
        training_args: Everything for the trainer, ``output_dir`` and ``seed`` among it.
        data: The data set where it was read before; else it is read as ``data_args`` says.
        log: Receives the data profile and notes, on the main process.

    Returns:
        All numbers of the run; the same are in ``output_dir/results.json``. Those of the baselines
        are with the main process alone.

    Raises:
        InputError: If an argument, a file or a row is not what was expected.

    Example:
        >>> from zlpr_hf import DataArguments, ModelArguments, ZLPRTrainingArguments
        >>> report = finetune(
        ...     ModelArguments(model_name_or_path="google-bert/bert-base-uncased", max_length=64),
        ...     DataArguments(train_file="reviews.csv", label_delimiter=";"),
        ...     ZLPRTrainingArguments(output_dir="out/reviews", num_train_epochs=1),
        ...     log=lambda text: None,
        ... )
        >>> sorted(report.test)
        ['TF-IDF + linear SVM', 'most frequent label set', 'this model (logit > 0)']
    """
    return finetune_config(RunConfig(model_args, data_args, training_args), data=data, log=log)


def finetune_config(
    config: RunConfig, *, data: LabelledData | None = None, log: Callable[[str], None] = print
) -> Report:
    """Run :func:`finetune` with a configuration of one piece."""
    model_args, data_args, training_args = config.model, config.data, config.training
    check_config(config)
    output_dir = Path(str(training_args.output_dir))
    checkpoint = find_resume_checkpoint(
        output_dir,
        training_args.resume_from_checkpoint,
        overwrite=data_args.overwrite_output_dir,
        only_model=training_args.save_only_model,
    )
    prepared = prepare(config, data=data)
    data, encoded, profile = prepared.data, prepared.encoded, prepared.profile
    teacher = None
    if model_args.teacher_model_name_or_path:
        teacher = Teacher.load(model_args.teacher_model_name_or_path, data.label_space)
    set_seed(training_args.seed)
    model = build_model(prepared, model_args, checkpoint=checkpoint)
    name = str(output_dir)
    if training_args.push_to_hub:
        name = training_args.hub_model_id or output_dir.resolve().name
        if training_args.process_index == 0:  # before hours of training, not after them
            private = bool(training_args.hub_private_repo)
            name = check_access(name, private=private, token=training_args.hub_token)
    trainer = build_trainer(
        prepared, model, training_args, streaming_buffer=data_args.streaming_buffer
    )
    cost = TrainingCost()
    trainer.add_callback(cost)
    main_process = trainer.is_world_process_zero()
    trainer.accelerator.wait_for_everyone()  # none may find what another one is writing here
    if main_process:
        if checkpoint is not None:
            clear_leftovers(output_dir)
        elif data_args.overwrite_output_dir or is_unfinished(output_dir):
            clear_run(output_dir)
        log(profile.render())
        if data_args.streaming and model_args.baselines:
            log("no SVM baseline: it would need all training texts, which are streamed")
        if training_args.cpu_speedups:
            log(SPEEDUPS_NOTE)
        save_config(output_dir / CONFIG_FILE, config)
        profile.save(output_dir / PROFILE_FILE)
        if checkpoint is not None:
            log(f"going on from {checkpoint}")
        elif str(training_args.resume_from_checkpoint).lower() == "true":
            log(f"no whole checkpoint in {output_dir}: starting from the beginning")
    if teacher is not None:
        with training_args.main_process_first(local=False, desc="ask the teacher"):
            logits = teacher.compute_logits(
                data.texts("train"),
                max_length=model_args.max_length,
                batch_size=training_args.per_device_eval_batch_size,
                folder=output_dir,
            )
        trainer.train_dataset = encoded["train"].add_column("teacher_logits", list(logits))
        teacher = None  # frees its memory
    started = time.monotonic()
    try:
        trained = trainer.train(
            resume_from_checkpoint=None if checkpoint is None else str(checkpoint)
        )
    except Exception as error:
        progress: Any = trainer.pop_callback(BriefProgress)
        if progress is not None:
            progress.close()  # what is said of the error begins a line
        if isinstance(error, FloatingPointError):
            raise InputError(str(error)) from error
        if isinstance(error, UnpicklingError):
            raise InputError(
                f"{checkpoint}: not gone on from, for one of its files (optimizer.pt, "
                "scheduler.pt, rng_state.pth) is a pickle that holds more than numbers"
            ) from error
        raise
    seconds = time.monotonic() - started
    if model_args.use_peft and model_args.peft_save == "merged":
        model = trainer.model = trainer.model_wrapped = merge_lora(trainer.model)

    outcome = _evaluate(trainer, prepared, model_args)
    test: dict[str, dict[str, float]] = {}
    if main_process and not prepared.large:
        test = compute_baselines(data, svm=model_args.baselines)
    if outcome.untuned is not None:
        test["before tuning thresholds"] = outcome.untuned
    test[MODEL_ROW] = outcome.metrics["test"]
    training = {
        "loss": training_args.loss,
        "loss_kwargs": training_args.loss_kwargs,
        "steps": trainer.state.global_step,
        "seconds": seconds,
        "train_loss": trained.training_loss,
        "seed": training_args.seed,
        "bf16": training_args.bf16,
        "cpu_speedups": training_args.cpu_speedups,
        "processes": training_args.world_size,
        "resumed_from": None if checkpoint is None else checkpoint.name,
        "outputs": model.config.num_labels,
        "large_label_space": prepared.large,
        **cost.summary(),
    }
    if prepared.loss.label_sets is not None:
        training["unseen_label_sets"] = {
            name: prepared.loss.label_sets.count_unseen(data.targets(name))
            for name in ("validation", "test")
        }
    report = Report(
        output_dir=str(output_dir),
        test=test,
        validation=outcome.metrics["validation"],
        label_scores=outcome.label_scores,
        thresholds=outcome.thresholds,
        profile=profile,
        training=training,
        warnings=check_run(profile, outcome.metrics),
    )
    with run_end(output_dir, is_main=main_process) as part:
        trainer.save_model(str(part))  # on every process
        if main_process:
            found = Provenance.find(training_args.device, data.fingerprints(), part)
            report = replace(report, provenance=found)
            _write(part, report, outcome, prepared, model_args, data_args, name=name)
    trainer.accelerator.wait_for_everyone()  # who goes on may read the files, in any process
    return report


def _evaluate(trainer: ZLPRTrainer, prepared: Prepared, arguments: ModelArguments) -> Outcome:
    """What the trained model does, with offsets tuned and folded into its bias if asked."""
    if prepared.large:
        return evaluate_top_k(
            trainer,
            prepared.encoded,
            prepared.data,
            tune=arguments.tune_thresholds == "global",
            metric=arguments.threshold_metric,
        )
    return evaluate_run(
        trainer,
        prepared.encoded,
        prepared.data,
        loss=prepared.loss,
        tune_thresholds=arguments.tune_thresholds,
        metric=arguments.threshold_metric,
    )


def _write(
    folder: Path,
    report: Report,
    outcome: Outcome,
    prepared: Prepared,
    model_args: ModelArguments,
    data_args: DataArguments,
    *,
    name: str,
) -> None:
    """Everything beside the model: page, card, numbers."""
    data = prepared.data
    if model_args.save_logits:
        targets = {split: data.targets(split) for split in outcome.logits}
        save_logits(folder / LOGITS_FILE, outcome.logits, targets)
    if not prepared.large:
        page = render_html_report(
            report,
            outcome.logits["test"],
            data.targets("test"),
            data.texts("test"),
            names=data.label_space.names,
        )
        write_whole(folder / REPORT_FILE, page)
    facts = CardFacts(
        name=name,
        base_model=model_args.model_name_or_path,
        max_length=model_args.max_length,
        dataset=data_args.dataset_name or data_args.train_file,
        # Of other data nobody knows whether its texts may be published.
        examples=data.splits["test"]["text"][:3] if data_args.dataset_name in CORPORA else (),
        emissions=read_emissions(Path(report.output_dir)),
    )
    write_model_card(folder, report, facts)
    report.save(folder / RESULTS_FILE)
