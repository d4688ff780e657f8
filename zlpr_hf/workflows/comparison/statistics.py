"""Statistics of a comparison: decision rules and groups of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import Scope
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import (
    compute_decision_metrics,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.thresholds import Thresholds

TUNED_RULES: tuple[Scope, ...] = ("global", "per_label")
RULES = ("own", *TUNED_RULES)
"""The loss's own rule; one offset tuned on validation; one tuned offset per label."""
GROUPS = ("head", "middle", "tail")


def fit_rules(logits: Any, targets: Any, *, metric: str) -> dict[str, Thresholds]:
    """Return the thresholds of each rule, tuned on validation rows for a metric."""
    rules = {"own": Thresholds()}
    for scope in TUNED_RULES:
        rules[scope] = fit_thresholds(logits, targets, metric=metric, scope=scope)
    return rules


def split_into_groups(train_targets: Any) -> dict[str, NDArray[np.intp]]:
    """Return the label ids per group: a third each, ``head`` the most frequent ones in training."""
    counts = (np.asarray(train_targets) >= 0.5).sum(0)
    order = np.argsort(-counts, kind="stable")
    return dict(zip(GROUPS, np.array_split(order, len(GROUPS)), strict=True))


def evaluate_rule(
    logits: Any,
    targets: Any,
    rule: Thresholds,
    groups: Mapping[str, NDArray[np.intp]],
    *,
    ranking: bool = True,
) -> dict[str, float]:
    """Return all metrics of test logits with a rule, and ``f1_macro_GROUP`` per group.

    A group without a label that a test row knows has no entry. Without ``ranking``, which is slow
    on many rows, the metrics are those of decisions.
    """
    predictions = rule.apply(logits)
    if ranking:
        metrics = compute_multi_label_metrics(logits, targets, predictions=predictions)
    else:
        metrics = compute_decision_metrics(predictions, targets)
    names = [str(index) for index in range(predictions.shape[1])]
    scores = compute_label_scores(logits, targets, names, predictions=predictions)
    judged = known_mask(np.asarray(targets)).any(0)
    for group, labels in groups.items():
        f1 = [scores[label].f1 for label in labels if judged[label]]
        if f1:
            metrics[f"f1_macro_{group}"] = float(np.mean(f1))
    return metrics
