"""Trials as lines and tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from zlpr_hf.reports.report import align_columns
from zlpr_hf.workflows.tuning.plan import Plan

MIN_TRIALS = 8
"""Completed trials that importances of options require."""
MAX_SHOWN = 5


class Ranked(NamedTuple):
    """A completed trial and its number from 1."""

    number: int
    trial: FrozenTrial


def render_trial(plan: Plan, trials: Sequence[FrozenTrial], reason: str) -> str:
    """Return the last trial on one line: its metric, the best so far, and its values."""
    trial = trials[-1]
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    if trial.state == TrialState.FAIL:
        return f"failed: {reason} · {values}"
    if trial.state == TrialState.PRUNED:
        epoch, value = max(trial.intermediate_values.items())
        return f"pruned after epoch {epoch}: {plan.metric} {value:.4f} · {values}"
    best = rank_trials(plan, trials)[0].trial
    return f"{plan.metric} {trial.value:.4f} (best {best.value:.4f}) · {values}"


def render_trials(plan: Plan, trials: Sequence[FrozenTrial], study: optuna.Study) -> str:
    """Return the best trials as columns, the counts of all, and the importance of each option.

    The importance is the fraction of an option in the difference between better and other trials
    (PED-ANOVA).
    """
    ranked = rank_trials(plan, trials)
    shown = ranked[:MAX_SHOWN]
    rows = [
        ["trial", *(str(each.number) for each in shown)],
        [plan.metric, *(f"{each.trial.value:.4f}" for each in shown)],
    ]
    for name in plan.space.dimensions:
        rows.append([name, *(_short(each.trial.params[name]) for each in shown)])
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    failed = len(trials) - len(ranked) - pruned
    lines = [
        align_columns(rows),
        f"{len(trials)} trials: {len(ranked)} completed, {pruned} pruned, {failed} failed",
    ]
    if len(ranked) >= MIN_TRIALS:
        importances = optuna.importance.get_param_importances(study).items()
        lines.append(
            "importance: " + ", ".join(f"{name} {share:.0%}" for name, share in importances)
        )
    return "\n".join(lines)


def rank_trials(plan: Plan, trials: Sequence[FrozenTrial]) -> list[Ranked]:
    """Return the completed trials, the best first, and the earlier of equal ones first."""
    completed = [
        Ranked(number, trial)
        for number, trial in enumerate(trials, start=1)
        if trial.state == TrialState.COMPLETE
    ]
    sign = 1 if plan.direction == "minimize" else -1
    return sorted(completed, key=lambda each: sign * float(each.trial.value or 0.0))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
