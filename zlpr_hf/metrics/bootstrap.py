"""Bootstrap intervals of metrics: how far they would move with other texts of the same kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import LIMITS, ratio
from zlpr_hf.thresholds import decide

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

ENDS = (2.5, 97.5)
DEPTH = 5
DRAWS = 100
"""Resamples at a time; with it memory is that of the counts, three numbers a cell."""
ROWS = 1000
"""Rows that are ranked at a time."""


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
    """Percentile intervals of metrics, from rows drawn with replacement.

    They speak of the rows, not of training again with another seed. A metric of a resample is what
    :func:`zlpr_hf.compute_multi_label_metrics` says of its rows. Average precision and
    ``ece`` are neither means nor ratios of sums over rows, would have to be computed anew for every
    resample, and are left out.

    Args:
        logits: Raw scores.
        targets: Values in [0, 1]; ``-100`` or NaN where not known.
        predictions: Decisions; without them ``logits > 0``.
        resamples: Number of draws.
        seed: Of the draws.

    Shape:
        logits, targets, predictions: ``(N, L)``.

    Returns:
        Metric to its interval. A ranking metric is missing where no row can be ranked; resamples
        without such a row do not count for it.

    References:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.

    Example:
        >>> compute_intervals([[1.0, -1.0]] * 9, [[1, 0]] * 9)["f1_micro"]
        Interval(low=1.0, high=1.0)
    """
    scores, truth = np.asarray(logits), np.asarray(targets, dtype=np.float32)
    known = known_mask(truth)
    present = known & (truth >= 0.5)
    decided = decide(scores) if predictions is None else np.asarray(predictions, dtype=bool)
    decided = decided & known
    decisions = DecisionCounts.from_decisions(decided, present, known)
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
            low, high = np.percentile(defined, ENDS)
            intervals[name] = Interval(float(low), float(high))
    return intervals


def draw_weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, for some resamples at a time.

    Args:
        rows: Number of rows, ``N``; so many are drawn with replacement.
        resamples: Number of draws.
        seed: Of the draws.

    Shape:
        Each: ``(draws, N)``.

    Yields:
        Counts in float32.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, DRAWS):
        size = min(DRAWS, resamples - start)
        drawn = generator.multinomial(rows, np.full(rows, 1 / rows), size=size)
        yield drawn.astype(np.float32)


@dataclass(frozen=True)
class DecisionCounts:
    """What each row adds to the metrics of decisions: a resampled one is a product of matrices.

    Args:
        true_positives: Cells that are predicted and present.
        predicted: Cells that are predicted.
        true: Cells that are present.
        rows: What a metric is a mean of, by its name; ``wrong`` and ``known`` cells of the row.
    """

    true_positives: Floats
    predicted: Floats
    true: Floats
    rows: dict[str, Floats]

    @classmethod
    def from_decisions(cls, decided: Bools, present: Bools, known: Bools) -> DecisionCounts:
        """Count.

        Args:
            decided: Which known cells are predicted.
            present: Which known cells are true.
            known: Which cells are known.

        Shape:
            decided, present, known: ``(N, L)``.
        """
        cells = decided & present
        true_positives, predicted, true = cells.sum(1), decided.sum(1), present.sum(1)
        rows = {
            "f1_samples": ratio(2 * true_positives, predicted + true),
            "precision_samples": ratio(true_positives, predicted),
            "recall_samples": ratio(true_positives, true),
            "jaccard_samples": ratio(true_positives, predicted + true - true_positives),
            "subset_accuracy": (decided == present).all(1).astype(float),
            "predicted_cardinality": predicted.astype(float),
            "empty_predictions": (predicted == 0).astype(float),
            "wrong": (decided != present).sum(1).astype(float),
            "known": known.sum(1).astype(float),
        }
        # Float32 is exact for whole numbers up to 16 million.
        parts = [part.astype(np.float32) for part in (cells, decided, present)]
        return cls(parts[0], parts[1], parts[2], rows)

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Metrics of rows that are counted ``weights`` times.

        Args:
            weights: Counts, as of :func:`draw_weights`.

        Shape:
            weights: ``(draws, N)``. Each result: ``(draws,)``.

        Returns:
            The decision and sanity metrics of
            :func:`zlpr_hf.compute_decision_metrics`.
        """
        found: dict[str, Floats] = {}
        labels = [weights @ part for part in (self.true_positives, self.predicted, self.true)]
        everything = [part.sum(1, dtype=np.float64)[:, None] for part in labels]
        for average, (true_positives, predicted, true) in (
            ("micro", everything),
            ("macro", labels),
        ):
            found[f"f1_{average}"] = ratio(2 * true_positives, predicted + true).mean(1)
            found[f"precision_{average}"] = ratio(true_positives, predicted).mean(1)
            found[f"recall_{average}"] = ratio(true_positives, true).mean(1)
        sums = dict(zip(self.rows, (weights @ np.stack([*self.rows.values()], 1)).T, strict=True))
        found["hamming_loss"] = ratio(sums.pop("wrong"), sums.pop("known"))
        return found | {name: values / weights.sum(1) for name, values in sums.items()}


@dataclass(frozen=True)
class RowMeans:
    """Values of rows whose weighted mean is a metric.

    Args:
        values: Metric to the sum of a row.
        counts: Metric to what the row adds to the divisor: 1, 0 for a row that does not count, or
            a number of cells.
    """

    values: dict[str, Floats]
    counts: dict[str, Floats]

    @classmethod
    def from_scores(cls, scores: Floats, truth: Floats, known: Bools) -> RowMeans:
        """Rank the labels of each row, and take the Brier score of its cells.

        Args:
            scores: Raw scores.
            truth: Targets.
            known: Which cells are known.

        Shape:
            scores, truth, known: ``(N, L)``.
        """
        present = known & (truth >= 0.5)
        ranked: Bools = np.logical_and(known.all(1), present.any(1))
        depth = min(DEPTH, scores.shape[1])
        values: dict[str, Floats] = {"brier": np.zeros(len(scores))}
        for start in range(0, len(scores), ROWS):
            some = slice(start, start + ROWS)
            with np.errstate(over="ignore"):
                probabilities = 1 / (1 + np.exp(-2 * scores[some].astype(np.float64)))
            errors = np.where(known[some], probabilities - truth[some], 0)
            values["brier"][some] = (errors**2).sum(1)
            rows = np.flatnonzero(ranked[some]) + start
            for name, part in _rankings(scores[rows], present[rows], depth).items():
                values.setdefault(name, np.zeros(len(scores)))[rows] = part
        counts = {name: ranked.astype(float) for name in values}
        return cls(values, counts | {"brier": known.sum(1).astype(float)})

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Metrics of rows that are counted ``weights`` times; NaN without a row that counts.

        Args:
            weights: Counts, as of :func:`draw_weights`.

        Shape:
            weights: ``(draws, N)``. Each result: ``(draws,)``.
        """
        sums, counts = (
            weights @ np.stack([*part.values()], 1) for part in (self.values, self.counts)
        )
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return dict(zip(self.values, means.T, strict=True))


def _rankings(scores: Floats, present: Bools, depth: int) -> dict[str, Floats]:
    """Ranking metrics of each row, with scikit-learn's conventions for equal scores."""
    scores = np.clip(scores, *LIMITS)
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, 1)
    true = np.take_along_axis(present, order, 1).astype(int)
    rows, labels = ordered.shape
    places = np.arange(labels)
    # A place belongs to a group of equal scores, which has a first and a last place.
    new = np.ones((rows, labels), dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)
    ends = np.where(np.roll(new, -1, axis=1), places, labels - 1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    true_positives = np.pad(np.cumsum(true, axis=1), ((0, 0), (1, 0)))
    above = np.take_along_axis(true_positives, last + 1, 1)  # true ones, as good or better
    gains = (above - np.take_along_axis(true_positives, first, 1)) / (last + 1 - first)
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
