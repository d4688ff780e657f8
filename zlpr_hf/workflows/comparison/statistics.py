"""Statistics of a comparison: decision rules, groups of labels, paired bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.bootstrap import DecisionCounts, draw_weights, explain_missing
from zlpr_hf.metrics.intervals import MIN_ROWS, difference_interval
from zlpr_hf.metrics.multi_label import compute_label_scores, compute_multi_label_metrics
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.thresholds import Thresholds

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Key = TypeVar("Key", bound=Hashable)

RULES = ("own", "global", "per_label")
"""The loss's own rule; one offset tuned on validation; one tuned offset per label."""
GROUPS = ("head", "middle", "tail")
PAIRED_METRICS = ("f1_micro", "f1_macro", "f1_samples", "subset_accuracy")


def fit_rules(logits: Any, targets: Any, *, metric: str) -> dict[str, Thresholds]:
    """Return the thresholds of each rule, tuned on validation rows for a metric."""
    tuned = {
        scope: fit_thresholds(logits, targets, metric=metric, scope=scope)
        for scope in ("global", "per_label")
    }
    return {"own": Thresholds(), **tuned}


def split_into_groups(train_targets: Any) -> dict[str, NDArray[np.intp]]:
    """Return the label ids per group: a third each, ``head`` the most frequent ones in training."""
    counts = (np.asarray(train_targets) >= 0.5).sum(0)
    order = np.argsort(-counts, kind="stable")
    return dict(zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True))


def evaluate_rule(
    logits: Any, targets: Any, rule: Thresholds, groups: Mapping[str, NDArray[np.intp]]
) -> dict[str, float]:
    """Return all metrics of test logits with a rule, and ``f1_macro_GROUP`` per group.

    A group without a label that a test row knows has no entry.
    """
    predictions = rule.apply(logits)
    metrics = compute_multi_label_metrics(logits, targets, predictions=predictions)
    names = [str(index) for index in range(predictions.shape[1])]
    scores = compute_label_scores(logits, targets, names, predictions=predictions)
    judged = known_mask(np.asarray(targets)).any(0)
    for group, labels in groups.items():
        f1 = [scores[label].f1 for label in labels if judged[label]]
        if f1:
            metrics[f"f1_macro_{group}"] = float(np.mean(f1))
    return metrics


@dataclass(frozen=True)
class Interval:
    """A difference and its 95 % interval from a paired bootstrap.

    ``low`` and ``high`` are None if there is no interval, for the reason ``missing``.
    """

    difference: float
    low: float | None
    high: float | None
    missing: str = ""

    @property
    def is_clear(self) -> bool:
        """True if the interval excludes zero."""
        return self.ends is not None and not self.ends[0] <= 0 <= self.ends[1]

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval, if there is one."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def paired_bootstrap(
    predictions: Mapping[Key, Sequence[Bools]],
    targets: Any,
    *,
    reference: Key,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[Key, dict[str, Interval]]:
    """Return the differences of predictors from a reference, on the same resampled test rows.

    ``predictions`` are decisions ``(N, L)`` per predictor and training seed. Each of
    ``PAIRED_METRICS`` is recomputed on every resample and averaged over the training seeds. The
    interval covers other test rows, not another training run; the standard deviation over seeds
    covers that. There is no interval of a macro average if a label has too few rows, and none at
    all if too few rows tell the two predictors apart.

    References:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 10.
        Berg-Kirkpatrick, Burkett, Klein: An Empirical Investigation of Statistical Significance in
        NLP, 2012.
    """
    truth = np.asarray(targets, dtype=np.float32)
    counts = {
        key: [DecisionCounts.from_targets(decided, truth) for decided in runs]
        for key, runs in predictions.items()
    }
    draws: dict[Key, list[Floats]] = {key: [] for key in counts}
    for weights in draw_weights(len(truth), resamples, seed):
        for key, runs in counts.items():
            draws[key].append(_mean_metrics(runs, weights))
    once = np.ones((1, len(truth)), np.float32)
    values = {key: _mean_metrics(runs, once)[0] for key, runs in counts.items()}
    base = np.concatenate(draws[reference])
    rare = explain_missing(np.zeros_like(truth), truth)
    found: dict[Key, dict[str, Interval]] = {}
    for key in counts.keys() - {reference}:
        drawn = np.concatenate(draws[key]) - base
        found[key] = {
            metric: _interval(
                float(np.nan_to_num(values[key][index] - values[reference][index])),
                drawn[:, index],
                _count_differing(metric, counts[key], counts[reference]),
                missing=rare.get(metric, ""),
            )
            for index, metric in enumerate(PAIRED_METRICS)
        }
    return found


def _interval(difference: float, drawn: Floats, rows: int, *, missing: str) -> Interval:
    if rows < MIN_ROWS:
        missing = f"fewer than {MIN_ROWS} rows differ"
    if missing:
        return Interval(difference, None, None, missing)
    ends = difference_interval(difference, drawn[~np.isnan(drawn)], rows)
    return Interval(difference, ends.low, ends.high)


def _count_differing(
    metric: str, runs: Sequence[DecisionCounts], others: Sequence[DecisionCounts]
) -> int:
    """Count the rows that tell two predictors apart: by their own value, or by any decision."""
    differ = [
        run.rows[metric] != other.rows[metric]
        if metric in run.rows
        else (run.cells.predicted != other.cells.predicted).any(1)
        for run, other in zip(runs, others, strict=True)
    ]
    return int(np.any(differ, axis=0).sum())


def _mean_metrics(runs: Sequence[DecisionCounts], weights: Floats) -> Floats:
    """Return ``PAIRED_METRICS`` of weighted rows, averaged over runs: ``(draws, 4)``."""
    metrics = [run.metrics(weights) for run in runs]
    columns = [np.mean([each[name] for each in metrics], axis=0) for name in PAIRED_METRICS]
    stacked: Floats = np.stack(columns, axis=1)
    return stacked
