"""Statistics of a comparison: decision rules, groups of labels, paired bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.bootstrap import PERCENTILES, DecisionCounts, draw_weights
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
    """Return all metrics of test logits with a rule, and ``f1_macro_GROUP`` per group."""
    predictions = rule.apply(logits)
    metrics = compute_multi_label_metrics(logits, targets, predictions=predictions)
    names = [str(index) for index in range(predictions.shape[1])]
    scores = compute_label_scores(logits, targets, names, predictions=predictions)
    judged = known_mask(np.asarray(targets)).any(0)
    for group, labels in groups.items():
        f1 = [scores[label].f1 for label in labels if judged[label]]
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
        """True if the interval excludes zero."""
        return self.low > 0 or self.high < 0


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
    covers that.

    References:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.
        Berg-Kirkpatrick, Burkett, Klein: An Empirical Investigation of Statistical Significance in
        NLP, 2012.
    """
    truth = np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    counts = {
        key: [DecisionCounts.from_decisions(decided & known, present, known) for decided in runs]
        for key, runs in predictions.items()
    }
    draws: dict[Key, list[Floats]] = {key: [] for key in counts}
    for weights in draw_weights(len(truth), resamples, seed):
        for key, runs in counts.items():
            draws[key].append(_mean_metrics(runs, weights))
    once = np.ones((1, len(truth)), np.float32)
    values = {key: _mean_metrics(runs, once)[0] for key, runs in counts.items()}
    base = np.concatenate(draws[reference])
    found: dict[Key, dict[str, Interval]] = {}
    for key in counts.keys() - {reference}:
        ends = np.percentile(np.concatenate(draws[key]) - base, PERCENTILES, axis=0)
        columns = np.stack([values[key] - values[reference], *ends], axis=1).tolist()
        found[key] = {
            metric: Interval(*column)
            for metric, column in zip(PAIRED_METRICS, columns, strict=True)
        }
    return found


def _mean_metrics(runs: Sequence[DecisionCounts], weights: Floats) -> Floats:
    """Return ``PAIRED_METRICS`` of weighted rows, averaged over runs: ``(draws, 4)``."""
    metrics = [run.metrics(weights) for run in runs]
    columns = [np.mean([each[name] for each in metrics], axis=0) for name in PAIRED_METRICS]
    stacked: Floats = np.stack(columns, axis=1)
    return stacked
