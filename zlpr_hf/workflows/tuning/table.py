"""How trials are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from zlpr_hf.workflows.tuning.plan import Plan

MIN_TRIALS = 8
"""Whole trials from which on it is told which options mattered."""


def render_trial(plan: Plan, trials: Sequence[FrozenTrial], reason: str) -> str:
    """The last trial on one line.

    Args:
        plan: The search.
        trials: All so far.
        reason: Why the last one failed, if it did.

    Returns:
        How it ended, the best so far, and its values.
    """
    trial = trials[-1]
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    if trial.state == TrialState.FAIL:
        return f"failed: {reason} · {values}"
    if trial.state == TrialState.PRUNED:
        epoch, value = max(trial.intermediate_values.items())
        return f"cut short after epoch {epoch}: {plan.metric} {value:.4f} · {values}"
    best = _best(plan, trials)[0][1]
    return f"{plan.metric} {trial.value:.4f} (best {best.value:.4f}) · {values}"


def render_trials(
    plan: Plan, trials: Sequence[FrozenTrial], study: optuna.Study, *, limit: int = 5
) -> str:
    """The best trials as a table, and which options mattered.

    Args:
        plan: The search.
        trials: All of them, in order.
        study: Theirs.
        limit: Longest table.

    Returns:
        The table, how many trials ended how, and the share of each option in what makes the better
        trials better (PED-ANOVA), where there are enough trials to tell.
    """
    best = _best(plan, trials)
    names = list(plan.space.dimensions)
    rows = [["trial", plan.metric, *names]]
    for place, trial in best[:limit]:
        cells = (_short(trial.params[name]) for name in names)
        rows.append([str(place), f"{trial.value:.4f}", *cells])
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    lines = ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    failed = len(trials) - len(best) - pruned
    lines.append(f"{len(trials)} trials: {len(best)} whole, {pruned} cut short, {failed} failed")
    if len(best) >= MIN_TRIALS:
        shares = optuna.importance.get_param_importances(study)
        told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        lines.append(f"what mattered: {told}")
    return "\n".join(lines)


def _best(plan: Plan, trials: Sequence[FrozenTrial]) -> list[tuple[int, FrozenTrial]]:
    """Whole trials with their place, the best first, of equal ones the earlier."""
    whole = [(i, t) for i, t in enumerate(trials, start=1) if t.state == TrialState.COMPLETE]
    sign = 1 if plan.direction == "minimize" else -1
    return sorted(whole, key=lambda pair: sign * float(pair[1].value or 0.0))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
