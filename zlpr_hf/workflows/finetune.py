"""A fine-tuning run, from the configuration to the saved model and its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.sources import Source
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.models.four_bits import move_adapters
from zlpr_hf.models.label_changes import label_changes
from zlpr_hf.models.loading import read_dropout_rates
from zlpr_hf.models.lora import merge_lora
from zlpr_hf.models.paths import is_local
from zlpr_hf.models.probe import explain_failure
from zlpr_hf.reports.provenance import Provenance
from zlpr_hf.reports.report import Report
from zlpr_hf.reports.verdict import read_history
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.training.callbacks import DataOfRun, TrainingCost
from zlpr_hf.training.distillation import Teacher
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.argument_checks import check_config
from zlpr_hf.workflows.arguments import RunConfig, render_config
from zlpr_hf.workflows.auto_defaults import render_defaults
from zlpr_hf.workflows.baselines import predict_baselines
from zlpr_hf.workflows.build_model import build_model
from zlpr_hf.workflows.cross_fit import cross_fit, save_out_of_fold, without_evaluation
from zlpr_hf.workflows.data_arguments import reading_options
from zlpr_hf.workflows.earlier_runs import EarlierRuns
from zlpr_hf.workflows.outcome import SPLITS, evaluate_run, predict_logits
from zlpr_hf.workflows.output_dir import (
    CONFIG_FILE,
    PROFILE_FILE,
    check_models_stay,
    clear_leftovers,
    clear_run,
    find_resume_checkpoint,
    is_unfinished,
    run_end,
)
from zlpr_hf.workflows.prepare import Prepared, build_trainer, prepare
from zlpr_hf.workflows.push import check_access
from zlpr_hf.workflows.python_call import read_call
from zlpr_hf.workflows.run_report import build_report, write_report
from zlpr_hf.workflows.run_training import run_training
from zlpr_hf.zlpr_config import ZLPRConfig

Log = Callable[[str], None]

ADAPTER_NOTE = (
    "peft_save adapter: the adapter needs the encoder {}, which is read from this machine; other "
    "machines and stock peft may not find it (--peft_save merged writes a model that loads "
    "everywhere)"
)
SPEEDUPS_NOTE = "cpu_speedups: on (--cpu_speedups false: the dropout and attention of torch)"


def finetune(*given: Any, data: Any = None, log: Log = print, **options: Any) -> Report:
    """Fine-tune a multi-label classifier, evaluate it and save it with its report.

    ``finetune(train_file="reviews.csv", label_delimiter=";", output_dir="out/reviews")`` does what
    ``zlpr train`` does with the same options, and ``finetune(frame, output_dir="out/reviews")``
    trains on rows in memory. Invalid input raises an error before the first file is written. With
    ``push_to_hub`` this includes a check that the Hub accepts the model, but pushing is left to the
    caller. With several processes, all of them call this function and the main one writes.

    Args:
        *given: Rows to train on: a data frame, a ``datasets.Dataset``, a list of dictionaries, a
            ``DatasetDict`` (splits ``validation`` and ``test`` are split off if missing), or the
            path of a file. Or :class:`zlpr_hf.ModelArguments`, :class:`zlpr_hf.DataArguments` and
            :class:`zlpr_hf.ZLPRTrainingArguments` in any order, in place of options by name.
        data: The rows, by name (default: read them as the options say).
        log: Receives the data profile and notes, on the main process.
        **options: Options of ``zlpr train`` by name, with its defaults, such as ``output_dir`` and
            ``learning_rate``. Without options for them, columns and form of the labels are found in
            the rows.

    Returns:
        All numbers of the run, also written to ``output_dir/results.json``. Only the main process
        has those of the baselines.

    Raises:
        InputError: If an option, a file or a row is invalid.

    Example:
        >>> report = finetune(
        ...     train_file="reviews.csv",
        ...     label_delimiter=";",
        ...     model_name_or_path="google-bert/bert-base-uncased",
        ...     num_train_epochs=1,
        ...     max_length=64,
        ...     output_dir="out/reviews",
        ...     log=lambda text: None,
        ... )
        >>> "TF-IDF + linear SVM" in report.test, "this model (logit > 0)" in report.test
        (True, True)
    """
    config, rows = read_call(given, data, options)
    return finetune_config(config, data=rows, log=log)


def finetune_config(
    config: RunConfig,
    *,
    data: LabelledData | Source | None = None,
    log: Log = print,
    columns_shown: bool = False,
) -> Report:
    """Run :func:`finetune` with all arguments in one :class:`RunConfig`.

    With ``columns_shown`` the user knows already which columns are read.
    """
    check_config(config)
    output_dir = Path(str(config.training.output_dir))
    checkpoint = find_resume_checkpoint(
        output_dir,
        config.training.resume_from_checkpoint,
        overwrite=config.data.overwrite_output_dir,
        only_model=config.training.save_only_model,
    )
    earlier = EarlierRuns.find(config, checkpoint)
    auto = config.auto
    prepared = prepare(config, data=data, earlier=earlier, cross_fits=True)
    config = prepared.config
    folds = prepared.data.folds
    if folds is not None:
        config = replace(config, training=without_evaluation(config.training))
    check_models_stay(config.model, output_dir, has_folds=folds is not None)
    name = config.model.teacher_model_name_or_path
    teacher = Teacher.load(name, prepared.data.label_space) if name else None
    set_seed(config.training.seed)
    model = build_model(prepared, config.model, checkpoint=checkpoint)
    own_dropout = read_dropout_rates(  # now: the run may overwrite the folder that it starts from
        config.model.model_name_or_path,
        revision=config.model.model_revision,
        trust_remote_code=config.model.trust_remote_code,
    )
    card_name = _check_card_name(config.training)
    trainer = build_trainer(prepared, model, config)
    cost = TrainingCost()
    trainer.add_callback(cost)
    trainer.add_callback(DataOfRun(reading_options(config.data)))
    is_main = trainer.is_world_process_zero()
    trainer.accelerator.wait_for_everyone()  # all have checked the folder before one writes to it
    if is_main:
        if prepared.data.reading is not None:
            log(f"{prepared.data.reading.render(columns=not columns_shown)}\n")
        _start_output_dir(output_dir, config, prepared, checkpoint, log)
        if auto:
            log(render_defaults(config, auto))
        for note in earlier.record(prepared.data, config.data, output_dir):
            log(note)
        if checkpoint is None and (changes := label_changes(model)):
            log(changes.render())
    if teacher is not None:
        _add_teacher_logits(trainer, teacher, prepared, config)
        teacher = None  # frees its memory
    started = time.monotonic()
    out_of_fold = None
    if folds is not None:
        trainer.accelerator.wait_for_everyone()  # folds of an earlier run are gone
        out_of_fold = cross_fit(prepared, config, predict_logits, log=log)
        set_seed(config.training.seed)  # training starts alike after folds that were read
    train_loss = run_training(trainer, checkpoint)
    seconds = time.monotonic() - started
    if config.model.load_in_4bit:
        whole = build_model(prepared, replace(config.model, load_in_4bit=False))
        trainer.model = trainer.model_wrapped = move_adapters(trainer.model, whole)
    if config.model.use_peft and config.model.peft_save == "merged":
        trainer.model = trainer.model_wrapped = merge_lora(trainer.model)
    with explain_failure(trainer.model):
        outcome = evaluate_run(trainer, prepared, config.model, out_of_fold)
    if is_main and (line := outcome.long_texts.render()):
        log(line)
    baselines = {}
    if is_main and not prepared.large:
        baselines = predict_baselines(prepared.data, svm=config.model.baselines)
    training = _training_facts(trainer, prepared, checkpoint)
    training |= {"seconds": seconds, "train_loss": train_loss, **cost.summary()}
    training |= {"long_texts": asdict(outcome.long_texts)}
    report = build_report(output_dir, prepared, outcome, baselines, training)
    bias_note = ZLPRConfig.read(trainer.model.config).render_bias()  # type: ignore[union-attr]
    report = replace(
        report,
        warnings=[
            *earlier.find_warnings(prepared.data),
            *report.warnings,
            *filter(None, [bias_note]),
        ],
        history=read_history(trainer.state.log_history, _kept_step(trainer)),
    )
    # --dropout is for this run alone: later training on the saved model has the checkpoint's rates.
    trainer.model.config.update(own_dropout)  # type: ignore[union-attr,operator]
    with run_end(output_dir, is_main=is_main) as part:
        trainer.save_model(str(part))  # on every process
        if is_main:
            fingerprints = prepared.data.fingerprints()
            provenance = Provenance.find(config.training.device, fingerprints, part)
            report = replace(report, provenance=provenance)
            write_report(part, report, outcome, prepared, config, card_name=card_name)
            if out_of_fold is not None:
                targets = prepared.data.targets("train")
                judged = prepared.data.split_of("test") == "train"
                save_out_of_fold(
                    part,
                    outcome.logits["validation"],
                    targets,
                    folds,
                    decisions=outcome.decisions["test"] if judged else None,
                )
    trainer.accelerator.wait_for_everyone()  # afterwards every process may read the files
    return report


def _check_card_name(arguments: ZLPRTrainingArguments) -> str:
    """Return the name of the model in its card; check before training that it can be pushed."""
    if not arguments.push_to_hub:
        return str(arguments.output_dir)
    name = arguments.hub_model_id or Path(str(arguments.output_dir)).resolve().name
    if arguments.process_index != 0:
        return name
    private = bool(arguments.hub_private_repo)
    return check_access(name, private=private, token=arguments.hub_token)


def _start_output_dir(
    output_dir: Path, config: RunConfig, prepared: Prepared, checkpoint: Path | None, log: Log
) -> None:
    """Remove leftovers of an earlier run, and write the configuration and the data profile."""
    if checkpoint is not None:
        clear_leftovers(output_dir)
    elif config.data.overwrite_output_dir or is_unfinished(output_dir):
        clear_run(output_dir, keep_folds=not config.data.overwrite_output_dir)
    log(prepared.profile.render())
    if config.data.streaming and config.model.baselines:
        log("no SVM baseline: it needs all training texts in memory, which streaming avoids")
    if config.training.cpu_speedups:
        log(SPEEDUPS_NOTE)
    if config.model.use_peft and config.model.peft_save == "adapter":
        name = config.model.model_name_or_path
        if is_local(name):
            log(ADAPTER_NOTE.format(name))
    write_whole(output_dir / CONFIG_FILE, render_config(config))
    prepared.profile.save(output_dir / PROFILE_FILE)
    if checkpoint is not None:
        log(f"resuming from {checkpoint}")
    elif str(config.training.resume_from_checkpoint).lower() == "true":
        log(f"no complete checkpoint in {output_dir}: starting from the beginning")


def _add_teacher_logits(
    trainer: ZLPRTrainer, teacher: Teacher, prepared: Prepared, config: RunConfig
) -> None:
    with config.training.main_process_first(local=False, desc="compute the teacher's logits"):
        logits = teacher.compute_logits(
            prepared.data.texts("train"),
            max_length=config.model.max_length,
            batch_size=config.training.per_device_eval_batch_size,
            folder=Path(str(config.training.output_dir)),
        )
    rows = prepared.encoded["train"].add_column("teacher_logits", list(logits))
    trainer.train_dataset = prepared.encoded["train"] = rows


def _training_facts(
    trainer: ZLPRTrainer, prepared: Prepared, checkpoint: Path | None
) -> dict[str, Any]:
    arguments: Any = trainer.args
    model: Any = trainer.model
    facts = {
        "loss": arguments.loss,
        "loss_kwargs": arguments.loss_kwargs,
        "steps": trainer.state.global_step,
        "seed": arguments.seed,
        "bf16": arguments.bf16,
        "cpu_speedups": arguments.cpu_speedups,
        "processes": arguments.world_size,
        "resumed_from": None if checkpoint is None else checkpoint.name,
        "outputs": model.config.num_labels,
        "large_label_space": prepared.large,
        "folds": 0 if prepared.data.folds is None else int(prepared.data.folds.max()) + 1,
    }
    label_sets = prepared.loss.label_sets
    if label_sets is not None:
        facts["unseen_label_sets"] = {
            name: label_sets.count_unseen(prepared.data.targets(name)) for name in SPLITS
        }
    return facts


def _kept_step(trainer: ZLPRTrainer) -> int | None:
    """Return the step whose weights are the model's; None if it is the last one."""
    arguments: Any = trainer.args
    return trainer.state.best_global_step if arguments.load_best_model_at_end else None
