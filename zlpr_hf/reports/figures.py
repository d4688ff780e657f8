"""Charts of a run, from its logits: curves, calibration, and labels that come together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from zlpr_hf.metrics.multi_label import CALIBRATION_BINS
from zlpr_hf.reports.report import Report
from zlpr_hf.reports.svg import Line, render_heat_map, render_lines
from zlpr_hf.thresholds import compute_scores

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Counts = NDArray[np.int_]

OFFSETS = np.arange(-30, 31) / 10
RECALLS = np.arange(1, 101) / 100
DOT, SMALLEST, LARGEST = 4.5, 2.0, 7.0
"""Radius of a dot; of one that is the larger the more it stands for, and what is added at most."""
MAX_HEATMAP_LABELS = 20
MAX_GAPS = 5
OFFSET_METRICS = {
    "f1_micro": "F1 micro",
    "f1_macro": "F1 macro",
    "precision_micro": "precision micro",
    "recall_micro": "recall micro",
    "subset_accuracy": "subset accuracy",
}


def draw_precision_recall(report: Report, scores: Floats, present: Bools, known: Bools) -> str:
    """Draw precision against recall, with a dot where the model decides, at zero.

    Args:
        report: The numbers of the run.
        scores: Logits, finite.
        present: Which known cells are true.
        known: Which cells are known.

    Shape:
        scores, present, known: ``(N, L)``.

    Returns:
        A chart of all labels together and, of those that the test split has, the best, the middle
        and the worst one by average precision; nothing if it has none.
    """
    ranked = sorted(
        (each.average_precision, label)
        for label, each in enumerate(report.label_scores)
        if each.average_precision is not None
    )
    if not ranked:
        return ""
    metrics = report.metrics
    lines = [
        Line(
            f"AP {metrics['average_precision_micro']:.3f} all labels (micro)",
            _precision_recall(present[known], scores[known]),
            [(metrics["recall_micro"], metrics["precision_micro"], DOT, "all labels, at zero")],
        )
    ]
    places = [("best", len(ranked) - 1), ("worst", 0), ("middle", len(ranked) // 2)][: len(ranked)]
    for kind, place in sorted(places, key=lambda each: -each[1]):
        precision, label = ranked[place]
        each, rows = report.label_scores[label], known[:, label]
        lines.append(
            Line(
                f"AP {precision:.3f} {kind}: {each.label}",
                _precision_recall(present[rows, label], scores[rows, label]),
                [(each.recall, each.precision, DOT, f"{each.label}, at zero")],
            )
        )
    title = "Precision and recall as the threshold moves"
    return render_lines(title, lines, x_label="recall", y_label="precision")


def _precision_recall(present: Bools, scores: Floats) -> list[tuple[float, float]]:
    """Precision at each per cent of recall that can be had."""
    precision, recall, _ = precision_recall_curve(present, scores)
    at = np.searchsorted(recall[::-1], RECALLS)
    return list(zip(RECALLS.tolist(), precision[::-1][at].tolist(), strict=True))


def draw_reliability(scores: Floats, truth: Floats, known: Bools) -> str:
    """Draw the share of labels that are true against their score, in the bins of ``ece``.

    Args:
        scores: Logits.
        truth: Targets.
        known: Which cells are known.

    Shape:
        scores, truth, known: ``(N, L)``.

    Returns:
        A chart; nothing if nothing is known.
    """
    said, true = compute_scores(scores[known]), truth[known]
    bins = np.minimum((said * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    sizes = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = sizes > 0
    if not filled.any():
        return ""
    x, y = (
        (np.bincount(bins, weights=values, minlength=CALIBRATION_BINS)[filled] / sizes[filled])
        for values in (said, true)
    )
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    dots = []
    for (score, share), size in zip(points, sizes[filled].tolist(), strict=True):
        what = f"{size:,} decisions: mean score {score:.3f}, true {share:.3f}"
        dots.append((score, share, SMALLEST + LARGEST * (size / len(said)) ** 0.5, what))
    return render_lines(
        "How often a label is true at its score",
        [Line("this model; the dotted line would be perfect", points, dots)],
        x_label="score, sigmoid(2 logit)",
        y_label="share that is true",
        diagonal=True,
    )


def draw_moved_threshold(scores: Floats, present: Bools, known: Bools) -> str:
    """Draw the metrics of decisions that are made above another logit than zero.

    Args:
        scores: Logits.
        present: Which known cells are true.
        known: Which cells are known.

    Shape:
        scores, present, known: ``(N, L)``.

    Returns:
        A chart.
    """
    curves = compute_moved_metrics(scores, present, known)
    lines = [
        Line(name, list(zip(OFFSETS.tolist(), curves[key].tolist(), strict=True)))
        for key, name in OFFSET_METRICS.items()
    ]
    return render_lines(
        "What another threshold would change",
        lines,
        x_label="a label is predicted above this logit",
        y_label="metric",
        x_range=(float(OFFSETS[0]), float(OFFSETS[-1])),
        marker=0.0,
    )


def compute_moved_metrics(scores: Floats, present: Bools, known: Bools) -> dict[str, Floats]:
    """Metrics of decisions at each of ``OFFSETS``, from one pass over the cells.

    Args:
        scores: Logits.
        present: Which known cells are true.
        known: Which cells are known.

    Shape:
        scores, present, known: ``(N, L)``. Each result: as ``OFFSETS``.

    Returns:
        ``f1_micro``, ``f1_macro``, ``precision_micro``, ``recall_micro``, ``subset_accuracy``.
    """
    hits, said = (_count_above(scores, cells) for cells in (present, known))
    true = np.broadcast_to(present.sum(0), hits.shape)
    hit, told, all_true = (part.sum(1) for part in (hits, said, true))
    # A row is right while its lowest true label is above and its highest false one is not.
    lowest = np.where(present, scores, np.inf).min(1)
    highest = np.where(known & ~present, scores, -np.inf).max(1)
    right = [np.mean((lowest > offset) & (highest <= offset)) for offset in OFFSETS]
    return {
        "f1_micro": 2 * hit / np.maximum(told + all_true, 1),
        "f1_macro": (2 * hits / np.maximum(said + true, 1)).mean(1),
        "precision_micro": hit / np.maximum(told, 1),
        "recall_micro": hit / np.maximum(all_true, 1),
        "subset_accuracy": np.array(right),
    }


def _count_above(scores: Floats, cells: Bools) -> Counts:
    """Cells of each label whose score is above each offset: ``(offsets, L)``."""
    labels = scores.shape[1]
    rows, columns = np.nonzero(cells & (scores > OFFSETS[0]))
    passed = np.searchsorted(OFFSETS, scores[rows, columns])
    sizes = np.bincount((passed - 1) * labels + columns, minlength=len(OFFSETS) * labels)
    counts: Counts = sizes.reshape(-1, labels)[::-1].cumsum(0)[::-1]
    return counts


def draw_pairs(names: Sequence[str], present: Bools, predicted: Bools) -> list[str]:
    """Draw which labels come together, in truth and as predicted.

    Args:
        names: Of the labels.
        present: Which cells are true.
        predicted: Which are predicted.

    Shape:
        present, predicted: ``(N, L)``.

    Returns:
        Two charts of the most frequent labels, up to 20; none if the rows have fewer than two.
    """
    chosen = _most_frequent(present)
    if len(chosen) < 2:
        return []
    shown = [names[label] for label in chosen]
    charts = []
    for title, cells in (("True together", present), ("Predicted together", predicted)):
        counts = _count_pairs(cells[:, chosen])
        shares = counts / np.maximum(counts.diagonal(), 1)[:, None]
        notes = [
            [
                f"{b} in {counts[i, j]:,} of {counts[i, i]:,} texts with {a}"
                for j, b in enumerate(shown)
            ]
            for i, a in enumerate(shown)
        ]
        charts.append(render_heat_map(f"{title}, in % of the row", shown, shares.tolist(), notes))
    return charts


def find_gaps(
    names: Sequence[str], present: Bools, predicted: Bools
) -> list[tuple[str, str, int, int]]:
    """Pairs of labels that are predicted together much more or less often than they are true.

    Args:
        names: As for :func:`draw_pairs`, and so are the others.
        present: Which cells are true.
        predicted: Which are predicted.

    Returns:
        Up to five pairs, of the labels that :func:`draw_pairs` shows: both names, in how many rows
        both are true, in how many both are predicted.
    """
    chosen = _most_frequent(present)
    true, said = (_count_pairs(cells[:, chosen]) for cells in (present, predicted))
    firsts, seconds = np.triu_indices(len(chosen), 1)
    gaps = np.abs(true - said)[firsts, seconds]
    widest = [pair for pair in np.argsort(-gaps, kind="stable")[:MAX_GAPS] if gaps[pair]]
    return [
        (names[chosen[i]], names[chosen[j]], int(true[i, j]), int(said[i, j]))
        for i, j in zip(firsts[widest], seconds[widest], strict=True)
    ]


def _most_frequent(present: Bools) -> list[int]:
    sizes = present.sum(0)
    order = np.argsort(-sizes, kind="stable")[:MAX_HEATMAP_LABELS]
    return [label for label in order.tolist() if sizes[label]]


def _count_pairs(cells: Bools) -> Counts:
    columns = cells.astype(np.float32)
    counts: Counts = (columns.T @ columns).astype(int)
    return counts
