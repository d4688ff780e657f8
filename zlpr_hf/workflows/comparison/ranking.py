"""Losses across datasets: wins, ties and defeats, and average ranks with a critical difference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS, Difference
from zlpr_hf.workflows.comparison.results import Comparison

LEVEL = 0.05
MIN_DATASETS = 3
"""Datasets from which on average ranks say anything."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Ranking:
    """Average ranks of losses with a rule over datasets, 1 for the best.

    Methods whose ranks differ by less than ``critical_difference`` are not told apart at the 5 %
    level; ``p_value`` is that of Friedman's test that all methods are alike.

    References:
        Demšar: Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 2006.
    """

    metric: str
    datasets: int
    ranks: dict[tuple[str, str], float]
    critical_difference: float
    p_value: float


@dataclass(frozen=True)
class Tally:
    """Datasets on which a method is better than, level with and worse than the reference.

    A difference counts if its p-value, corrected for the number of methods on the dataset, is
    below 0.05. ``unknown`` are the datasets without an interval.
    """

    better: int
    level: int
    worse: int
    unknown: int


def correct_p_values(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Return p-values corrected for their number, so that any error among them has its level.

    References:
        Holm: A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = sorted(p_values, key=lambda key: p_values[key])
    found: dict[Key, float] = {}
    least = 0.0
    for place, key in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * p_values[key]))
        found[key] = least
    return found


def tally_differences(comparison: Comparison, metric: str) -> dict[tuple[str, str], Tally]:
    """Return how often each loss with each rule beats the reference; none without intervals."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for dataset in comparison.datasets:
        found = {
            (row.loss, row.rule): row.difference[metric]
            for row in comparison.rows_of(dataset)
            if row.difference is not None
        }
        for key, relation in judge_differences(found).items():
            empty = {"better": 0, "level": 0, "worse": 0, "unknown": 0}
            counts.setdefault(key, empty)[relation] += 1
    return {key: Tally(**each) for key, each in counts.items()}


def judge_differences(differences: Mapping[Key, Difference]) -> dict[Key, str]:
    """Return ``better``, ``level``, ``worse`` or ``unknown`` for each of several differences."""
    known = {key: p for key, each in differences.items() if (p := each.p_value) is not None}
    corrected = correct_p_values(known)
    return {
        key: "unknown"
        if key not in corrected
        else "level"
        if corrected[key] >= LEVEL
        else "better"
        if each.difference > 0
        else "worse"
        for key, each in differences.items()
    }


def rank_methods(comparison: Comparison, metric: str, *, rules: tuple[str, ...]) -> Ranking | None:
    """Return average ranks of losses with some rules; None for too few datasets or methods.

    Only losses that ran on all datasets are ranked.
    """
    if metric not in PAIRED_METRICS or len(comparison.datasets) < MIN_DATASETS:
        return None
    by_method: dict[tuple[str, str], list[float]] = {}
    for dataset in comparison.datasets:
        for row in comparison.rows_of(dataset):
            if row.rule in rules:
                by_method.setdefault((row.loss, row.rule), []).append(row.mean[metric])
    count = len(comparison.datasets)
    by_method = {name: each for name, each in by_method.items() if len(each) == count}
    if len(by_method) < 3:
        return None
    values = np.array(list(by_method.values()))
    ranks = rankdata(-values, axis=0).mean(1)
    k = len(by_method)
    quantile = float(studentized_range.ppf(1 - LEVEL, k, np.inf)) / 2**0.5
    return Ranking(
        metric=metric,
        datasets=count,
        ranks=dict(sorted(zip(by_method, ranks.tolist(), strict=True), key=lambda each: each[1])),
        critical_difference=quantile * (k * (k + 1) / (6 * count)) ** 0.5,
        p_value=float(friedmanchisquare(*values).pvalue),
    )
