"""Bootstrap intervals: how far metrics would move with other texts of the same kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.counts import Counts, Floats, mean_or_nan, ratio
from zlpr_hf.metrics.intervals import MIN_ROWS, Interval, score_interval
from zlpr_hf.metrics.multi_label import LIMITS
from zlpr_hf.thresholds import compute_scores, decide, refuse_nan

Bools = NDArray[np.bool_]

RANKING_DEPTH = 5
COUNTS_OF_LABELS = ("predicted_cardinality", "coverage_error")
"""Metrics between 0 and the number of labels; all others are between 0 and 1."""
DRAWS_AT_ONCE = 100
ROWS_AT_ONCE = 1000
"""Rows that are ranked at a time; both bounds limit memory."""


def compute_intervals(
    logits: Any,
    targets: Any,
    *,
    predictions: Any | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute intervals of metrics from rows drawn with replacement.

    They describe the choice of rows, not training again with another seed. Each metric of a
    resample equals :func:`zlpr_hf.compute_multi_label_metrics` of its rows;
    :func:`zlpr_hf.metrics.intervals.score_interval` makes an interval of them. Average precision
    and ``ece`` are left out: they are neither means nor ratios of sums over rows. A macro average
    is left out if a label has too few rows (see :func:`explain_missing`), and any metric that
    depends on fewer than two rows; resamples without such a row do not count for it.

    Args:
        logits: Raw scores ``(N, L)``.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown target.
        predictions: Decisions (default: ``logits > 0``).
        resamples: Number of resamples.
        seed: Random seed for resampling.

    Example:
        >>> interval = compute_intervals([[1.0, -1.0]] * 90, [[1, 0]] * 90)["f1_micro"]
        >>> round(interval.low, 2), interval.high
        (0.96, 1.0)
    """
    scores, truth = np.asarray(logits), np.asarray(targets, dtype=np.float32)
    refuse_nan(scores)
    decided = decide(scores) if predictions is None else predictions
    parts: tuple[DecisionCounts | RowMeans, ...] = (
        DecisionCounts.from_targets(decided, truth),
        RowMeans.from_scores(scores, truth),
    )
    drawn: dict[str, list[Floats]] = {}
    for weights in draw_weights(len(truth), resamples, seed):
        for name, values in _merge(part.metrics(weights) for part in parts).items():
            drawn.setdefault(name, []).append(values)
    once = _merge(part.metrics(np.ones((1, len(truth)), np.float32)) for part in parts)
    rows = _merge(part.rows_per_metric() for part in parts)
    intervals = {}
    for name, values in once.items():
        limit = scores.shape[1] if name in COUNTS_OF_LABELS else 1
        found = np.concatenate(drawn[name])
        defined = found[~np.isnan(found)] / limit
        if len(defined) and rows.get(name, 0) >= 2:
            interval = score_interval(float(values[0]) / limit, defined, rows[name])
            intervals[name] = Interval(limit * interval.low, limit * interval.high)
    return intervals


def explain_missing(predictions: Any, targets: Any) -> dict[str, str]:
    """Return, for each macro average without an interval, the reason in a few words.

    Every judged label needs :data:`MIN_ROWS` rows: true ones, for the precision predicted ones.

    Example:
        >>> explain_missing([[1, 0]] * 10, [[1, 0]] * 10)["f1_macro"]
        'fewer than 10 rows for 1 of 2 labels'
    """
    counts = DecisionCounts.from_targets(predictions, np.asarray(targets, dtype=np.float32))
    return {
        name: f"fewer than {MIN_ROWS} rows for {(rows < MIN_ROWS).sum()} of {len(rows)} labels"
        for name, rows in counts.rows_per_label.items()
        if (rows < MIN_ROWS).any()
    }


def _merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


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
    def from_targets(cls, predictions: Any, truth: Floats) -> DecisionCounts:
        """Count predicted and true cells ``(N, L)`` where the target is known."""
        known = known_mask(truth)
        decided = known & np.asarray(predictions, dtype=bool)
        present = known & (truth >= 0.5)
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

    @property
    def rows_per_label(self) -> dict[str, Floats]:
        """Rows that decide each term of the macro averages, for the labels with a known target."""
        judged = slice(None) if self.known is None else self.known.any(0)
        true, predicted = (
            each.sum(0)[judged] for each in (self.cells.support, self.cells.predicted)
        )
        return {"f1_macro": true, "recall_macro": true, "precision_macro": predicted}

    def rows_per_metric(self) -> dict[str, float]:
        """Return the number of rows that each metric depends on; macro averages only if defined.

        Labels with few rows move a macro average most, hence the harmonic mean.
        """
        predicted, true = (each.any(1) for each in (self.cells.predicted, self.cells.support))
        found = dict.fromkeys(self.rows, float(self.rows["judged"].sum()))
        found |= {"hamming_loss": found["judged"], "f1_micro": float((predicted | true).sum())}
        found |= {"precision_micro": float(predicted.sum()), "recall_micro": float(true.sum())}
        return found | {
            name: len(rows) / float(np.mean(1 / rows))
            for name, rows in self.rows_per_label.items()
            if len(rows) and rows.min() >= MIN_ROWS
        }


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
    def from_scores(cls, scores: Floats, truth: Floats) -> RowMeans:
        """Rank the labels of each row, and compute the Brier score of its cells."""
        known: Bools = known_mask(truth)
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

    def rows_per_metric(self) -> dict[str, float]:
        """Return the number of rows that each metric depends on."""
        return {name: float((each > 0).sum()) for name, each in self.counts.items()}


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
