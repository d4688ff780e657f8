"""Run a search trial by trial, without losing one to a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial, TrialState
from transformers import PreTrainedModel, PrinterCallback, set_seed

from zlpr_hf.errors import InputError, find_full_disk
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.training.arguments import REGULARISERS
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.build_model import build_model
from zlpr_hf.workflows.prepare import build_trainer, prepare
from zlpr_hf.workflows.tuning.journal import (
    STUDY,
    find_finished,
    open_journal,
    open_study,
    record_failure,
)
from zlpr_hf.workflows.tuning.plan import Plan, check_plan_metric
from zlpr_hf.workflows.tuning.table import rank_trials, render_trial, render_trials

BEST_FILE = "best.yaml"
WARM_UP_TRIALS, WARM_UP_EPOCHS = 4, 1
"""Trials that are never pruned, and epochs of each trial."""


def tune(plan: Plan, trials: int, *, log: Callable[[str], None] = print) -> list[FrozenTrial]:
    """Run trials up to a total number, and write the best configuration.

    Trials of earlier calls count, except interrupted ones, which are repeated with the same values.
    The test split is not used, and no model is kept.
    """
    prepared = prepare(plan.config)
    plan = plan.with_defaults(prepared.config)
    settings = plan.describe()
    check_plan_metric(
        plan, prepared.data.label_space.num_labels, prepared.loss, large=prepared.large
    )
    soft = set(REGULARISERS) & set(plan.space.dimensions)
    if prepared.large and soft:
        raise InputError(f"search_space: {min(soft)} is not supported in a large label space")
    fingerprints = {
        name: digest for name, digest in prepared.data.fingerprints().items() if name != "test"
    }

    def build() -> PreTrainedModel:
        model = build_model(prepared, plan.config.model)
        set_seed(plan.config.training.seed)  # dropout starts as in a run of its own
        return model

    with _quiet_optuna(), open_journal(plan.output_dir) as storage:
        study = open_study(storage, plan, settings, fingerprints)
        found = find_finished(study)
        if found:
            log(f"resuming: {len(found)} of {trials} trials are in {plan.output_dir}")
        if len(found) < trials:
            arguments = parse_arguments([*plan.argv, "--save_strategy=no"]).training
            arguments.output_dir = str(plan.output_dir)
            trainer = build_trainer(prepared, build, replace(plan.config, training=arguments))
            trainer.pop_callback(PrinterCallback)
        while len(found) < trials:
            reason = _run_trial(study, storage, plan, trainer, number=len(found))
            record_failure(study)
            found = find_finished(study)
            log(f"trial {len(found)}/{trials}: {render_trial(plan, found, reason)}")
        if not any(trial.state == TrialState.COMPLETE for trial in found):
            raise InputError(f"none of {len(found)} trials completed; see the reasons above")
        _write_best(plan, found)
        log(f"\n{render_trials(plan, found, study)}")
    return found


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log for a while; failures of trials are logged here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _run_trial(
    study: optuna.Study,
    storage: optuna.storages.JournalStorage,
    plan: Plan,
    trainer: ZLPRTrainer,
    *,
    number: int,
) -> str:
    """Run one trial with the trainer's own search, and return the reason if it fails."""
    if number == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(plan.space.start)  # the result is no worse than the start
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if plan.prune:
        pruner = optuna.pruners.MedianPruner(WARM_UP_TRIALS, WARM_UP_EPOCHS + 1)
    try:
        trainer.hyperparameter_search(
            backend="optuna",
            n_trials=1,
            direction=plan.direction,
            hp_space=plan.space.suggest,
            compute_objective=lambda metrics: metrics[f"eval_{plan.metric}"],
            storage=storage,
            study_name=STUDY,
            load_if_exists=True,
            # Suggestions depend on the trials so far only.
            sampler=optuna.samplers.TPESampler(seed=plan.config.training.seed + number),
            pruner=pruner,
        )
    except KeyError as error:
        return f"evaluation has no {error}"
    except (FloatingPointError, OSError, RuntimeError, ValueError) as error:
        if find_full_disk(error):  # other trials need space too
            raise
        # Optuna also raises this after a good trial while none has completed.
        return " ".join(str(error).split())[:200]
    return "the metric is not a number"


def _write_best(plan: Plan, trials: list[FrozenTrial]) -> None:
    place, best = rank_trials(plan, trials)[0]
    comment = (
        f"# The best of {len(trials)} trials, number {place}: {plan.metric} {best.value!r} on the "
        "validation split\n# after the last epoch, decided at logit > 0.\n"
    )
    write_whole(plan.output_dir / BEST_FILE, comment + plan.config_of(best.params))
