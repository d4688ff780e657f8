"""The charts of a run, computed from its logits, and the pairs of labels that it confuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.metrics.calibration import bin_scores
from zlpr_hf.metrics.counts import Counts
from zlpr_hf.reports.report import METRIC_TITLES
from zlpr_hf.reports.svg import Dot, Line, Plot
from zlpr_hf.reports.verdict import HistoryEntry
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, compute_scores

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int_]

MIN_DOT_RADIUS, ADDED_DOT_RADIUS, MAXIMUM_RADIUS = 2.0, 7.0, 4.0
GRID_SIZE, QUANTILES = 61, 200
"""Thresholds of a chart, and thresholds that are tried to find its range."""
MAX_PAIR_LABELS, MAX_PAIRS = 200, 10
THRESHOLD_METRICS = (
    "f1_micro", "f1_macro", "precision_micro", "recall_micro", "subset_accuracy",
)  # fmt: skip
PEAKED_METRICS = ("f1_micro", "f1_macro", "subset_accuracy")
"""Metrics with a maximum inside of the chart; precision and recall have theirs at an end."""


class ThresholdChoice(NamedTuple):
    """A threshold with its metrics, and the reason to choose it."""

    meaning: str
    logit: float
    metrics: dict[str, float]

    @property
    def score(self) -> float:
        """The threshold as a score, as ``--threshold`` takes it."""
        return float(compute_scores(self.logit))


class Pair(NamedTuple):
    """Two labels, the rows in which both are true, and those in which both are predicted."""

    first: str
    second: str
    true: int
    predicted: int


def plot_reliability(scores: Floats, truth: Floats, known: Bools) -> Plot | None:
    """Plot the fraction of true labels against their score, in the bins of ``ece``.

    The dots are larger for more decisions; there is no plot if no target is known.
    """
    shown, true = compute_scores(scores[known]), truth[known]
    score_sums, true_sums, sizes = bin_scores(shown, true)
    filled = sizes > 0
    if not filled.any():
        return None
    x, y = (sums[filled] / sizes[filled] for sums in (score_sums, true_sums))
    dots = [
        Dot(
            score,
            fraction,
            MIN_DOT_RADIUS + ADDED_DOT_RADIUS * (size / len(shown)) ** 0.5,
            f"{size:,} decisions: mean score {score:.3f}, true {fraction:.3f}",
        )
        for score, fraction, size in zip(
            x.tolist(), y.tolist(), sizes[filled].tolist(), strict=True
        )
    ]
    points = [(dot.x, dot.y) for dot in dots]
    return Plot(
        "How often a label is true at its score",
        "; ".join(dot.meaning for dot in dots),
        [Line("this model; dotted: perfect calibration", points, dots)],
        "score, sigmoid(logit)",
        "fraction that is true",
        diagonal=True,
    )


@dataclass(frozen=True)
class ThresholdCurves:
    """Metrics at thresholds in ascending order, zero and those with the maxima among them."""

    thresholds: Floats
    metrics: dict[str, Floats]

    @classmethod
    def compute(cls, scores: Floats, present: Bools, known: Bools) -> ThresholdCurves | None:
        """Compute all metrics at the thresholds of a chart; None if no target is known."""
        if not known.any():
            return None
        thresholds = choose_thresholds(scores, present, known)
        return cls(thresholds, compute_metrics_at(thresholds, scores, present, known))

    @property
    def zero(self) -> int:
        """Place of the threshold zero."""
        return int(np.searchsorted(self.thresholds, 0))

    def best(self, name: str) -> int:
        """Return the place of the maximum of a metric that is nearest to zero."""
        return int(
            np.searchsorted(self.thresholds, _nearest_maximum(self.metrics[name], self.thresholds))
        )

    def choices(self) -> list[ThresholdChoice]:
        """Return the thresholds that someone may choose: zero, and the maximum of each metric."""
        places = {"the model's own": self.zero} | {
            f"largest {METRIC_TITLES[name]}": self.best(name) for name in PEAKED_METRICS
        }
        return [
            ThresholdChoice(
                meaning,
                float(self.thresholds[place]),
                {name: float(self.metrics[name][place]) for name in PEAKED_METRICS},
            )
            for meaning, place in places.items()
        ]

    def plot(self) -> Plot:
        """Plot the metrics against the threshold, with a dot at each maximum."""
        thresholds = self.thresholds.tolist()
        return Plot(
            "Metrics at other thresholds",
            "; ".join(self._describe(name) for name in PEAKED_METRICS),
            [
                Line(
                    METRIC_TITLES[name],
                    list(zip(thresholds, self.metrics[name].tolist(), strict=True)),
                    self._dots(name) if name in PEAKED_METRICS else (),
                )
                for name in THRESHOLD_METRICS
            ],
            "a label is predicted above this logit",
            "metric",
            x_range=(thresholds[0], thresholds[-1]),
            marker=0.0,
        )

    def _describe(self, name: str) -> str:
        values, best = self.metrics[name], self.best(name)
        return (
            f"{METRIC_TITLES[name]}: {values[self.zero]:.3f} at zero, at most "
            f"{values[best]:.3f} at {self.thresholds[best]:.2f}"
        )

    def _dots(self, name: str) -> list[Dot]:
        place = self.best(name)
        x, y = float(self.thresholds[place]), float(self.metrics[name][place])
        return [Dot(x, y, MAXIMUM_RADIUS, f"largest {METRIC_TITLES[name]}: {y:.3f} at {x:.2f}")]


def plot_history(history: Sequence[HistoryEntry]) -> list[Plot]:
    """Plot losses and F1 by epoch, with a line at the kept one; nothing before two evaluations."""
    if len(history) < 2:
        return []
    curves = {
        "Loss by epoch": {"training": "train_loss", "validation": "validation_loss"},
        "F1 by epoch, validation": {"F1 micro": "f1_micro", "F1 macro": "f1_macro"},
    }
    plots = [_plot_epochs(title, names, history) for title, names in curves.items()]
    return [plot for plot in plots if plot is not None]


def _plot_epochs(
    title: str, names: Mapping[str, str], history: Sequence[HistoryEntry]
) -> Plot | None:
    lines = []
    for name, key in names.items():
        points = [
            (each.epoch, float(value))
            for each in history
            if (value := getattr(each, key)) is not None and math.isfinite(value)
        ]
        dots = [Dot(x, y, MIN_DOT_RADIUS, f"{name}, epoch {x:g}: {y:.4f}") for x, y in points]
        if points:
            lines.append(Line(name, points, dots))
    if not lines:
        return None
    top = max(y for line in lines for _, y in line.points)
    return Plot(
        title,
        "; ".join(dot.meaning for line in lines for dot in line.dots),
        lines,
        "epoch; dotted: the one that was kept",
        "",
        x_range=(history[0].epoch, history[-1].epoch),
        y_range=(0.0, 1.0) if "F1" in title else (0.0, max(top * 1.05, 1e-6)),
        marker=next((each.epoch for each in history if each.kept), None),
        whole_x=history[-1].epoch - history[0].epoch >= 1,
    )


def choose_thresholds(scores: Floats, present: Bools, known: Bools) -> Floats:
    """Return the thresholds of a chart in ascending order, zero and the best ones among them.

    F1 can only rise where the threshold falls below the score of a true label, and the subset
    accuracy where it also passes the highest false label of a row: quantiles of both are tried.
    """
    limited = np.clip(scores, -MAX_LOGIT_THRESHOLD, MAX_LOGIT_THRESHOLD)
    below_true = np.nextafter(limited[present], -np.inf, dtype=np.float32)
    highest_false = np.where(known & ~present, limited, -np.inf).max(1)
    quantiles = [
        np.quantile(values, np.linspace(0, 1, QUANTILES), method="lower")
        for values in (below_true, highest_false[np.isfinite(highest_false)])
        if len(values)
    ]
    tried = np.unique(np.concatenate([[0.0], *quantiles]))
    curves = compute_metrics_at(tried, scores, present, known)
    best = [_nearest_maximum(curves[name], tried) for name in PEAKED_METRICS]
    low, high = min(-1.0, *best), max(1.0, *best)
    margin = (high - low) / 8
    ends = math.floor(10 * (low - margin)) / 10, math.ceil(10 * (high + margin)) / 10
    return np.unique(np.concatenate([np.linspace(*ends, GRID_SIZE), [0.0, *best]]))


def _nearest_maximum(values: Floats, thresholds: Floats) -> float:
    places = np.flatnonzero(values >= values.max() - 1e-12)
    return float(min(thresholds[places], key=abs))


def compute_metrics_at(
    thresholds: Floats, scores: Floats, present: Bools, known: Bools
) -> dict[str, Floats]:
    """Return ``THRESHOLD_METRICS`` for each ascending threshold, from one pass over the cells.

    ``present`` are the cells that are known and true; at least one cell must be known.
    """
    judged = np.ix_(known.any(1), known.any(0))
    scores, present, known = scores[judged], present[judged], known[judged]
    true_positives, predicted = (
        _count_above(thresholds, scores, cells) for cells in (present, known)
    )
    support = np.broadcast_to(present.sum(0), true_positives.shape)
    per_label = Counts(true_positives, predicted, support)
    micro = per_label.total().averages("micro")
    # A row is right while its lowest true label is above and its highest false one is not.
    lowest = np.where(present, scores, np.inf).min(1)
    highest = np.where(known & ~present, scores, -np.inf).max(1)
    right = [np.mean((lowest > value) & (highest <= value)) for value in thresholds]
    return micro | {"f1_macro": per_label.f1.mean(1), "subset_accuracy": np.array(right)}


def _count_above(thresholds: Floats, scores: Floats, cells: Bools) -> Integers:
    """Cells of each label whose score is above each threshold: ``(thresholds, L)``."""
    labels = scores.shape[1]
    rows, columns = np.nonzero(cells & (scores > thresholds[0]))
    passed = np.searchsorted(thresholds, scores[rows, columns])
    sizes = np.bincount((passed - 1) * labels + columns, minlength=len(thresholds) * labels)
    counts: Integers = sizes.reshape(-1, labels)[::-1].cumsum(0)[::-1]
    return counts


def find_pairs(names: Sequence[str], present: Bools, predicted: Bools) -> list[Pair]:
    """Return the pairs of frequent labels that are predicted together too often or too rarely.

    The widest gaps come first; pairs without a gap are left out.
    """
    sizes = present.sum(0)
    order = np.argsort(-sizes, kind="stable")[:MAX_PAIR_LABELS]
    chosen = order[sizes[order] > 0]
    true, found = (_count_pairs(cells[:, chosen]) for cells in (present, predicted))
    firsts, seconds = np.triu_indices(len(chosen), 1)
    gaps = np.abs(true - found)[firsts, seconds]
    widest = [pair for pair in np.argsort(-gaps, kind="stable")[:MAX_PAIRS] if gaps[pair]]
    return [
        Pair(names[chosen[i]], names[chosen[j]], int(true[i, j]), int(found[i, j]))
        for i, j in zip(firsts[widest], seconds[widest], strict=True)
    ]


def _count_pairs(cells: Bools) -> Integers:
    columns = cells.astype(np.float32)
    counts: Integers = (columns.T @ columns).astype(int)
    return counts
