"""Differences of predictors on the same test rows, with intervals of a paired bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from zlpr_hf.metrics.bootstrap import DecisionCounts, draw_weights, explain_missing
from zlpr_hf.metrics.counts import Floats
from zlpr_hf.metrics.intervals import MIN_ROWS, difference_interval

Bools = NDArray[np.bool_]
Key = TypeVar("Key", bound=Hashable)
Relation = Literal["better", "level", "worse"]

PAIRED_METRICS = ("f1_micro", "f1_macro", "f1_samples", "subset_accuracy")


@dataclass(frozen=True)
class Difference:
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
        return self.relation in ("better", "worse")

    @property
    def relation(self) -> Relation | None:
        """``level`` if the interval holds zero; None without an interval."""
        if self.ends is None:
            return None
        low, high = self.ends
        return "better" if low > 0 else "worse" if high < 0 else "level"

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of no difference, below 0.05 where the interval excludes zero."""
        if self.ends is None:
            return None
        low, high = self.ends
        if high == low:
            return 0.0 if low else 1.0
        return float(2 * norm.sf(abs(low + high) / (high - low) * norm.ppf(0.975)))

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
) -> dict[Key, dict[str, Difference]]:
    """Return the differences of predictors from a reference, on the same resampled test rows.

    ``predictions`` are decisions ``(N, L)`` per predictor and training seed. Each of
    ``PAIRED_METRICS`` is recomputed on every resample of the rows, and averaged over a resample of
    the training seeds, so that the interval covers other test rows and other training runs; of few
    seeds it covers the runs in part. There is no interval of a macro average if a label has too few
    rows, and none at all if too few rows tell the two predictors apart.

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
    num_seeds = len(predictions[reference])
    generator = np.random.default_rng([seed, num_seeds])
    for weights in draw_weights(len(truth), resamples, seed):
        shares = generator.multinomial(num_seeds, [1 / num_seeds] * num_seeds, len(weights))
        for key, runs in counts.items():
            draws[key].append(_mean_metrics(runs, weights, shares / num_seeds))
    once, alike = np.ones((1, len(truth)), np.float32), np.full((1, num_seeds), 1 / num_seeds)
    values = {key: _mean_metrics(runs, once, alike)[0] for key, runs in counts.items()}
    base = np.concatenate(draws[reference])
    rare = explain_missing(np.zeros_like(truth), truth)
    found: dict[Key, dict[str, Difference]] = {}
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


def _interval(difference: float, drawn: Floats, rows: int, *, missing: str) -> Difference:
    if rows < MIN_ROWS:
        missing = f"fewer than {MIN_ROWS} rows differ"
    if missing:
        return Difference(difference, None, None, missing)
    ends = difference_interval(difference, drawn[~np.isnan(drawn)], rows)
    return Difference(difference, ends.low, ends.high)


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


def _mean_metrics(runs: Sequence[DecisionCounts], weights: Floats, shares: Any) -> Floats:
    """Return ``PAIRED_METRICS`` of weighted rows, averaged over runs: ``(draws, 4)``.

    ``shares`` are the weights of the runs, ``(draws, runs)``.
    """
    metrics = [run.metrics(weights) for run in runs]
    columns = [
        (np.stack([each[name] for each in metrics], axis=1) * shares).sum(1)
        for name in PAIRED_METRICS
    ]
    stacked: Floats = np.stack(columns, axis=1)
    return stacked
