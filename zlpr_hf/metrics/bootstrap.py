"""Bootstrap intervals: how far metrics would move with other texts of the same kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.counts import Counts, Floats, mean_or_nan, ratio
from zlpr_hf.metrics.multi_label import LIMITS
from zlpr_hf.thresholds import compute_scores, decide, refuse_nan

Bools = NDArray[np.bool_]

PERCENTILES = (2.5, 97.5)
RANKING_DEPTH = 5
DRAWS_AT_ONCE = 100
ROWS_AT_ONCE = 1000
"""Rows that are ranked at a time; both bounds limit memory."""


@dataclass(frozen=True)
class Interval:
    """95 % interval of a metric."""

    low: float
    high: float


def compute_intervals(
    logits: Any,
    targets: Any,
    *,
    predictions: Any | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute percentile intervals of metrics from rows drawn with replacement.

    They describe the choice of rows, not training again with another seed. Each metric of a
    resample equals :func:`zlpr_hf.compute_multi_label_metrics` of its rows. Average precision and
    ``ece`` are left out: they are neither means nor ratios of sums over rows. A ranking metric is
    missing if no row can be ranked; resamples without such a row do not count for it.

    Args:
        logits: Raw scores ``(N, L)``.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target.
        predictions: Decisions (default: ``logits > 0``).
        resamples: Number of resamples.
        seed: Random seed for resampling.

    References:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.

    Example:
        >>> compute_intervals([[1.0, -1.0]] * 9, [[1, 0]] * 9)["f1_micro"]
        Interval(low=1.0, high=1.0)
    """
    scores, truth = np.asarray(logits), np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    refuse_nan(scores)
    decided = decide(scores) if predictions is None else np.asarray(predictions, dtype=bool)
    decisions = DecisionCounts.from_decisions(decided & known, known & (truth >= 0.5), known)
    others = RowMeans.from_scores(scores, truth, known)
    drawn: dict[str, list[Floats]] = {}
    for weights in draw_weights(len(truth), resamples, seed):
        for name, values in (decisions.metrics(weights) | others.metrics(weights)).items():
            drawn.setdefault(name, []).append(values)
    intervals = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        defined = values[~np.isnan(values)]
        if len(defined):
            low, high = np.percentile(defined, PERCENTILES)
            intervals[name] = Interval(float(low), float(high))
    return intervals


def draw_weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the number of times that each row is drawn, ``(draws, N)``, some resamples at a time.

    Float32 holds the counts and their sums exactly, up to 16 million.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, resamples - start)
        drawn = generator.multinomial(rows, np.full(rows, 1 / rows), size=size)
        yield drawn.astype(np.float32)


@dataclass(frozen=True)
class DecisionCounts:
    """Contributions of each row to the metrics of decisions: a resample is a product of matrices.

    Args:
        cells: True positive, predicted and true cells, each ``(N, L)``.
        rows: Values per row: the metrics that are means over rows, ``wrong`` and ``known`` cells,
            and ``judged``, whether a cell is known.
        known: Known cells ``(N, L)``; None if all are.
    """

    cells: Counts
    rows: dict[str, Floats]
    known: Floats | None

    @classmethod
    def from_decisions(cls, decided: Bools, present: Bools, known: Bools) -> DecisionCounts:
        """Count predicted and true cells ``(N, L)``; unknown cells must be neither."""
        counts = Counts.from_decisions(decided, present, axis=1)
        rows = {
            "f1_samples": counts.f1,
            "precision_samples": counts.precision,
            "recall_samples": counts.recall,
            "jaccard_samples": counts.jaccard,
            "subset_accuracy": counts.wrong == 0,
            "predicted_cardinality": counts.predicted,
            "empty_predictions": counts.predicted == 0,
            "wrong": counts.wrong,
            "known": known.sum(1),
            "judged": known.any(1),
        }
        judged = known.any(1)
        cells = Counts(*(each.astype(np.float32) for each in (decided & present, decided, present)))
        return cls(
            cells,
            {name: (values * judged).astype(float) for name, values in rows.items()},
            None if known.all() else known.astype(np.float32),
        )

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric ``(draws,)`` of rows counted ``weights`` times, ``(draws, N)``.

        A metric is NaN where no cell is known.
        """
        cells = self.cells
        labels = Counts(
            *(weights @ each for each in (cells.true_positives, cells.predicted, cells.support))
        )
        judged = None if self.known is None else weights @ self.known > 0
        sums = dict(zip(self.rows, (weights @ np.stack([*self.rows.values()], 1)).T, strict=True))
        wrong, known, rows = (sums.pop(name) for name in ("wrong", "known", "judged"))
        micro = labels.total().averages("micro")
        found = {name: np.where(known > 0, values, np.nan) for name, values in micro.items()}
        found |= labels.averages("macro", judged) | {"hamming_loss": mean_or_nan(wrong, known)}
        return found | {name: mean_or_nan(values, rows) for name, values in sums.items()}


@dataclass(frozen=True)
class RowMeans:
    """Values of rows whose weighted mean is a metric.

    Args:
        values: Sum per row, by metric.
        counts: Contribution of each row to the divisor, by metric: 1 or 0, or a number of cells.
    """

    values: dict[str, Floats]
    counts: dict[str, Floats]

    @classmethod
    def from_scores(cls, scores: Floats, truth: Floats, known: Bools) -> RowMeans:
        """Rank the labels of each row, and compute the Brier score of its cells."""
        present = known & (truth >= 0.5)
        ranked: Bools = np.logical_and(known.all(1), present.any(1))
        depth = min(RANKING_DEPTH, scores.shape[1])
        values: dict[str, Floats] = {"brier": np.zeros(len(scores))}
        for start in range(0, len(scores), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            errors = np.where(known[some], compute_scores(scores[some]) - truth[some], 0)
            values["brier"][some] = (errors**2).sum(1)
            rows = np.flatnonzero(ranked[some]) + start
            for name, part in _rankings(scores[rows], present[rows], depth).items():
                values.setdefault(name, np.zeros(len(scores)))[rows] = part
        counts = {name: ranked.astype(float) for name in values}
        return cls(values, counts | {"brier": known.sum(1).astype(float)})

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric of rows counted ``weights`` times; NaN if no row contributes."""
        sums, counts = (
            weights @ np.stack([*part.values()], 1) for part in (self.values, self.counts)
        )
        return dict(zip(self.values, mean_or_nan(sums, counts).T, strict=True))


def _rankings(scores: Floats, present: Bools, depth: int) -> dict[str, Floats]:
    """Ranking metrics of each row, with scikit-learn's conventions for equal scores."""
    scores = np.clip(scores, *LIMITS)
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, 1)
    true = np.take_along_axis(present, order, 1).astype(int)
    rows, labels = ordered.shape
    places = np.arange(labels)
    # Equal scores form a group; first and last are the places where the group begins and ends.
    new = np.ones((rows, labels), dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)
    ends = np.where(np.roll(new, -1, axis=1), places, labels - 1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    cumulative = np.pad(np.cumsum(true, axis=1), ((0, 0), (1, 0)))
    above = np.take_along_axis(cumulative, last + 1, 1)  # true labels with this score or a higher
    gains = (above - np.take_along_axis(cumulative, first, 1)) / (last + 1 - first)
    discounts = np.where(places < depth, 1 / np.log2(places + 2), 0)
    positives = true.sum(1)
    pairs = positives * (labels - positives)
    precision = (true * above / (last + 1)).sum(1) / positives
    return {
        "one_error": 1.0 - true[:, 0],
        f"precision_at_{depth}": true[:, :depth].mean(1),
        f"ndcg_at_{depth}": gains @ discounts / np.cumsum(discounts)[positives - 1],
        "lrap": np.where(pairs > 0, precision, 1),
        "ranking_loss": ratio((true * (last + 1 - above)).sum(1), pairs),
        "coverage_error": (true * (last + 1)).max(1).astype(float),
    }
