"""The whole flow of a fine-tuning run, once, in order."""

from __future__ import annotations

import copy
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback, set_seed

from zlpr_hf.argument_checks import check_best_metric, check_choices, is_large_label_space
from zlpr_hf.arguments import DataArguments, ModelArguments, save_config
from zlpr_hf.checkpoints import (
    CONFIG_FILE,
    LOGITS_FILE,
    PROFILE_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    check_same_task,
    clear_run,
    find_resume_checkpoint,
)
from zlpr_hf.cost import TrainingCost
from zlpr_hf.data.collator import MultiLabelCollator
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.encoding import encode
from zlpr_hf.data.profile import compute_profile
from zlpr_hf.distillation import Teacher
from zlpr_hf.errors import InputError
from zlpr_hf.head_init import init_head_from_label_names, read_label_descriptions
from zlpr_hf.html_report import save_html_report
from zlpr_hf.hub import check_access
from zlpr_hf.label_space import LabelSpace
from zlpr_hf.loading import load_data
from zlpr_hf.logits import save_logits
from zlpr_hf.lora import add_lora, merge_lora
from zlpr_hf.losses import MultiLabelLoss, PowersetLoss, build_loss
from zlpr_hf.model_card import CardFacts, write_model_card
from zlpr_hf.modeling import (
    fast_attention,
    has_added_layer,
    is_trained_for,
    load_model,
    load_tokenizer,
)
from zlpr_hf.outcome import judge, judge_best_labels
from zlpr_hf.progress import BriefProgress
from zlpr_hf.report import MODEL_ROW, Report
from zlpr_hf.trainer import ZLPRTrainer, name_of
from zlpr_hf.training_arguments import ZLPRTrainingArguments
from zlpr_hf.yardsticks import compute_yardsticks

logger = logging.getLogger(__name__)

HEAD_INIT_TEXTS = 512


def finetune(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ZLPRTrainingArguments,
    *,
    data: LabelledData | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Read data, fine-tune, tune thresholds if asked, evaluate, save.

    Everything that can be wrong with the input is found before the first file is written, with
    ``push_to_hub`` also whether the Hub would take the model. Pushing is left to the caller:
    :func:`zlpr_hf.hub.push_folder`.

    Args:
        model_args: The encoder and its head.
        data_args: The data set.
        training_args: Everything for the trainer, ``output_dir`` and ``seed`` among it.
        data: The data set where it was read before; else it is read as ``data_args`` says.
        say: Receives the data profile and notes, on the main process.

    Returns:
        All numbers of the run; the same are in ``output_dir/results.json``.

    Raises:
        InputError: If an argument, a file or a row is not what was expected.
    """
    check_choices(model_args, data_args, training_args)
    output_dir = Path(str(training_args.output_dir))
    checkpoint = find_resume_checkpoint(
        output_dir, training_args.resume_from_checkpoint, overwrite=data_args.overwrite_output_dir
    )
    data = load_data(data_args) if data is None else data
    num_labels = data.label_space.num_labels
    large = is_large_label_space(
        model_args, data_args, training_args, num_labels=num_labels, hard=data.is_hard
    )
    if large:
        training_args.large_label_space = True
    check_best_metric(training_args, num_labels)
    train_targets = None if large else data.targets("train")
    loss = build_loss(training_args.loss, reduction="none", train_targets=train_targets)
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
    teacher = None
    if model_args.teacher_model_name_or_path:
        teacher = Teacher.load(model_args.teacher_model_name_or_path, data.label_space)
    set_seed(training_args.seed)
    model = _build_model(model_args, data, tokenizer, loss, checkpoint)
    if model_args.use_peft:
        if model_args.peft_save == "adapter" and has_added_layer(model):
            raise InputError(
                "peft_save adapter: its encoder would lack the layer that pooling mean adds to "
                f"{model.config.model_type}; use peft_save merged, or pooling first"
            )
        model = add_lora(
            model,
            name=model_args.model_name_or_path,
            rank=model_args.lora_rank,
            alpha=model_args.lora_alpha,
            dropout=model_args.lora_dropout,
            target_modules=model_args.lora_target_modules,
        )
    name = str(output_dir)
    if training_args.push_to_hub:
        name = training_args.hub_model_id or output_dir.resolve().name
        if training_args.process_index == 0:  # before hours of training, not after them
            private = bool(training_args.hub_private_repo)
            name = check_access(name, private=private, token=training_args.hub_token)
    # The trainer's own way of pushing takes all checkpoints and replaces the card.
    trainer_args = copy.copy(training_args)
    trainer_args.push_to_hub = False
    try:
        trainer = ZLPRTrainer(
            model=model,
            args=trainer_args,
            train_dataset=encoded["train"],
            eval_dataset=encoded["validation"],
            data_collator=MultiLabelCollator(tokenizer, num_labels, as_ids=large),
            processing_class=tokenizer,
            loss=loss,
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        # A folder that cannot be made, or an integration that is not installed.
        raise InputError(" ".join(str(error).split())) from error
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(BriefProgress)
    cost = TrainingCost()
    trainer.add_callback(cost)
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
    if teacher is not None:
        with training_args.main_process_first(desc="ask the teacher"):
            logits = teacher.compute_logits(
                data.texts("train"),
                max_length=model_args.max_length,
                batch_size=training_args.per_device_eval_batch_size,
                folder=output_dir,
            )
        trainer.train_dataset = encoded["train"].add_column("teacher_logits", list(logits))
        teacher = None  # frees its memory
    started = time.monotonic()
    with fast_attention(model, on_cpu=training_args.use_cpu, max_length=model_args.max_length):
        trained = trainer.train(
            resume_from_checkpoint=None if checkpoint is None else str(checkpoint)
        )
    seconds = time.monotonic() - started
    if model_args.use_peft and model_args.peft_save == "merged":
        model = trainer.model = trainer.model_wrapped = merge_lora(trainer.model)

    if large:
        tune = model_args.tune_thresholds == "global"
        outcome = judge_best_labels(
            trainer, encoded, data, tune=tune, metric=model_args.threshold_metric
        )
    else:
        outcome = judge(
            trainer,
            encoded,
            data,
            loss=loss,
            tune_thresholds=model_args.tune_thresholds,
            metric=model_args.threshold_metric,
        )
    trainer.save_model(str(output_dir))
    test: dict[str, dict[str, float]] = {}
    if main_process and not large:
        test = compute_yardsticks(data, svm=model_args.yardsticks)
    if outcome.untuned is not None:
        test["before tuning thresholds"] = outcome.untuned
    test[MODEL_ROW] = outcome.metrics["test"]
    training = {
        "loss": training_args.loss,
        "steps": trainer.state.global_step,
        "seconds": seconds,
        "train_loss": trained.training_loss,
        "seed": training_args.seed,
        "bf16": training_args.bf16,
        "processes": training_args.world_size,
        "resumed_from": None if checkpoint is None else checkpoint.name,
        "outputs": model.config.num_labels,
        "large_label_space": large,
        **cost.summary(),
    }
    if isinstance(loss, PowersetLoss):
        training["unseen_label_sets"] = {
            name: loss.label_sets.count_unseen(data.targets(name))
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
    )
    if main_process:
        if model_args.save_logits:
            targets = {name: data.targets(name) for name in outcome.logits}
            save_logits(output_dir / LOGITS_FILE, outcome.logits, targets)
        report.save(output_dir / RESULTS_FILE)
        if not large:
            save_html_report(
                output_dir / REPORT_FILE,
                report,
                outcome.logits["test"],
                data.targets("test"),
                data.texts("test"),
                names=data.label_space.names,
            )
        facts = CardFacts(
            name=name,
            base_model=model_args.model_name_or_path,
            max_length=model_args.max_length,
            dataset=data_args.dataset_name or data_args.train_file,
            # Of other data nobody knows whether its texts may be published.
            examples=data.splits["test"]["text"][:3] if data_args.dataset_name in CORPORA else (),
        )
        write_model_card(output_dir, report, facts)
    return report


def _build_model(
    arguments: ModelArguments,
    data: LabelledData,
    tokenizer: PreTrainedTokenizerBase,
    loss: MultiLabelLoss,
    checkpoint: Path | None,
) -> PreTrainedModel:
    """The model as training starts with it; where a run goes on, its weights are loaded later."""
    label_sets = loss.label_sets if isinstance(loss, PowersetLoss) else None
    outputs = data.label_space if label_sets is None else label_sets.output_space(data.label_space)
    described = read_label_descriptions(arguments.label_descriptions_file, data.label_space)
    model = load_model(
        arguments.model_name_or_path,
        data.label_space,
        loss=name_of(loss),
        label_sets=label_sets,
        pooling=arguments.pooling,  # type: ignore[arg-type]
        dropout=arguments.dropout,
        revision=arguments.model_revision,
    )
    if checkpoint is not None:
        check_same_task(checkpoint, outputs, getattr(model.config, "num_hidden_layers", 0))
    elif _starts_from_names(arguments, outputs):
        texts = data.splits["train"]["text"]
        sample = random.Random(0).sample(list(texts), min(HEAD_INIT_TEXTS, len(texts)))
        init_head_from_label_names(
            model,
            tokenizer,
            data.label_space,
            sample,
            descriptions=data.label_descriptions | described,
            label_sets=label_sets,
            max_length=arguments.max_length,
        )
    return model


def _starts_from_names(arguments: ModelArguments, outputs: LabelSpace) -> bool:
    if arguments.head_init == "auto":
        # A head that was trained for these labels is better than their names.
        return arguments.pooling == "mean" and not is_trained_for(
            arguments.model_name_or_path, outputs, revision=arguments.model_revision
        )
    return arguments.head_init == "label_names"
