"""What is computed from the logits of a run: decision rules, label groups, paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.bootstrap import DecisionCounts, draw_weights
from zlpr_hf.metrics.multi_label import compute_label_scores, compute_multi_label_metrics
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.thresholds import Thresholds

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

RULES = ("own", "global", "per_label")
"""The loss' own rule; one offset tuned on validation; one offset a label tuned on validation."""

GROUPS = ("head", "middle", "tail")
PAIRED_METRICS = ("f1_micro", "f1_macro", "f1_samples", "subset_accuracy")


def fit_rules(logits: Any, targets: Any, *, metric: str) -> dict[str, Thresholds]:
    """Offsets of every rule, from validation rows.

    Args:
        logits: Validation logits; zero is the loss' own rule.
        targets: Their targets.
        metric: What tuned offsets maximise, ``f1_micro`` or ``f1_macro``.

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Rule to thresholds.
    """
    return {
        "own": Thresholds(),
        "global": fit_thresholds(logits, targets, metric=metric, scope="global"),
        "per_label": fit_thresholds(logits, targets, metric=metric, scope="per_label"),
    }


def split_into_groups(train_targets: Any) -> dict[str, NDArray[np.intp]]:
    """Labels by how often training has them: a third each, the most frequent ones are the head.

    Args:
        train_targets: Training targets ``(N, L)``.

    Returns:
        Group to label ids.
    """
    counts = (np.asarray(train_targets) >= 0.5).sum(0)
    order = np.argsort(-counts, kind="stable")
    return dict(zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True))


def evaluate_rule(
    logits: Any, targets: Any, rule: Thresholds, groups: Mapping[str, NDArray[np.intp]]
) -> dict[str, float]:
    """All metrics of test logits under a rule, and macro-F1 of the groups of labels.

    Args:
        logits: Test logits.
        targets: Their targets.
        rule: Offsets.
        groups: Group to label ids.

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        The metrics of :func:`zlpr_hf.compute_multi_label_metrics` and
        ``f1_macro_head``, ``f1_macro_middle``, ``f1_macro_tail``.
    """
    predictions = rule.apply(logits)
    metrics = compute_multi_label_metrics(logits, targets, predictions=predictions)
    names = [str(index) for index in range(predictions.shape[1])]
    scores = compute_label_scores(logits, targets, names, predictions=predictions)
    for group, labels in groups.items():
        f1 = [scores[label].f1 for label in labels]
        metrics[f"f1_macro_{group}"] = float(np.mean(f1)) if f1 else 0.0
    return metrics


@dataclass(frozen=True)
class Interval:
    """A difference and the 95 % interval of its bootstrap distribution."""

    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    predictions: Mapping[str, Sequence[Bools]],
    targets: Any,
    *,
    reference: str,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Interval]]:
    """How far each predictor is from the reference, on the same resampled test rows.

    Rows are drawn with replacement, the same for all predictors; each metric is computed anew on
    every draw, a mean over the seeds of training. The interval speaks of the test rows, not of
    training again: beside it stands the standard deviation over seeds.

    Args:
        predictions: Name to decisions, one array a seed.
        targets: Test targets.
        reference: The name to compare with.
        resamples: Number of draws.
        seed: Of the draws.

    Shape:
        predictions: each ``(N, L)``. targets: ``(N, L)``.

    Returns:
        Name to metric (``f1_micro``, ``f1_macro``, ``f1_samples``, ``subset_accuracy``) to the
        difference from the reference with its percentile interval; without the reference itself.

    References:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.
        Berg-Kirkpatrick, Burkett, Klein: An Empirical Investigation of Statistical Significance in
        NLP, 2012.
    """
    truth = np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    counts = {
        name: [DecisionCounts.from_decisions(decided & known, present, known) for decided in runs]
        for name, runs in predictions.items()
    }
    draws: dict[str, list[Floats]] = {name: [] for name in counts}
    for weights in draw_weights(len(truth), resamples, seed):
        for name, runs in counts.items():
            draws[name].append(_mean(runs, weights))
    once = np.ones((1, len(truth)), np.float32)
    values = {name: _mean(runs, once)[0] for name, runs in counts.items()}
    base = np.concatenate(draws[reference])
    found: dict[str, dict[str, Interval]] = {}
    for name in counts:
        if name == reference:
            continue
        low, high = np.percentile(np.concatenate(draws[name]) - base, [2.5, 97.5], axis=0)
        difference = values[name] - values[reference]
        found[name] = {
            metric: Interval(float(difference[i]), float(low[i]), float(high[i]))
            for i, metric in enumerate(PAIRED_METRICS)
        }
    return found


def _mean(runs: Sequence[DecisionCounts], weights: Floats) -> Floats:
    """Metrics ``(draws, 4)`` of rows that are counted ``weights`` times, a mean over runs."""
    metrics = [run.metrics(weights) for run in runs]
    columns = [np.mean([each[name] for each in metrics], axis=0) for name in PAIRED_METRICS]
    stacked: Floats = np.stack(columns, axis=1)
    return stacked
