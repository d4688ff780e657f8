"""The formulas of the papers, label by label in Python's own floats; unknown labels left out."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.losses.functions import WEIGHTS

Cell = tuple[float, float]
"""Logit and target of a known label."""


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def known_cells(logits: list[float], targets: list[float]) -> list[Cell]:
    return [(s, t) for s, t in zip(logits, targets, strict=True) if t != -100 and not math.isnan(t)]


def poly1(s: float, t: float) -> float:
    p = sigmoid(s)
    return t * (-math.log(p) + (1 - p)) + (1 - t) * (-math.log(1 - p) + p)


def robust_asymmetric(s: float, t: float) -> float:
    p = sigmoid(s)
    q = min(1 - p + 0.05, 1)
    up = -math.log(p) - (1 - p) + 2.5 / 2 * (1 - p) ** 2
    return t * up - (1 - t) * (1 - q) ** 4 * (1.5 - p) * p**2 * (1.5 - q) * math.log(q)


def hill(s: float, t: float) -> float:
    p, p_m = sigmoid(s), sigmoid(s - 1)
    return -t * (1 - p_m) ** 2 * math.log(p_m) + (1 - t) * (1.5 - p) * p**2


def splc(s: float, t: float) -> float:
    p, p_m = sigmoid(s), sigmoid(s - 1)
    down = -(p**2) * math.log(1 - p) if p <= 0.6 else -((1 - p) ** 2) * math.log(p)
    return -t * (1 - p_m) ** 2 * math.log(p_m) + (1 - t) * down


SUMS: dict[str, Callable[[float, float], float]] = {
    "robust_asymmetric": robust_asymmetric,
    "hill": hill,
    "splc": splc,
}
"""Losses of one label that are summed over the known labels of an example."""

MEANS: dict[str, Callable[[float, float], float]] = {"poly1": poly1}
"""Losses of one label that are averaged over the known labels of an example."""


def softened(values: list[float], weights: list[float], temperature: float) -> float:
    return sum(w * math.exp(v / temperature) for v, w in zip(values, weights, strict=True)) ** (
        temperature
    )


def way(cells: list[Cell]) -> float | None:
    """One text, or one label over the batch; None without a positive."""
    if not any(t > 0 for _, t in cells):
        return None
    negatives = softened([s for s, _ in cells], [1 - t for _, t in cells], 1.0)
    positives = softened([-s for s, _ in cells], [t for _, t in cells], 4.0)
    return math.log(1 + negatives * positives)


def columns(values: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*values, strict=True)]


def two_way(logits: list[list[float]], targets: list[list[float]]) -> list[float]:
    rows = [way(known_cells(s, t)) for s, t in zip(logits, targets, strict=True)]
    labels = zip(columns(logits), columns(targets), strict=True)
    found = [value for s, t in labels if (value := way(known_cells(s, t))) is not None]
    by_label = sum(found) / max(len(found), 1)
    counted = sum(row is not None for row in rows)
    return [(len(rows) * row / counted if row is not None else 0.0) + by_label for row in rows]


def sigmoid_f1(logits: list[list[float]], targets: list[list[float]]) -> list[float]:
    costs = []
    for s_of, t_of in zip(columns(logits), columns(targets), strict=True):
        cells = known_cells(s_of, t_of)
        if cells:
            true_positives = sum(sigmoid(s) * t for s, t in cells)
            false_positives = sum(sigmoid(s) * (1 - t) for s, t in cells)
            false_negatives = sum((1 - sigmoid(s)) * t for s, t in cells)
            wrong = false_positives + false_negatives
            costs.append(1 - 2 * true_positives / (2 * true_positives + wrong))
    return [sum(costs) / max(len(costs), 1)] * len(logits)


def frequency(label: int) -> float:
    return 10 * WEIGHTS[label].item()


def shift(label: int) -> float:
    return 0.05 * math.log(100 / frequency(label) - 1)


def class_weight(label: int) -> float:
    return (1 - 0.9) / (1 - 0.9 ** frequency(label))


def row_weight(label: int, targets: list[float]) -> float:
    repeated = sum(t / frequency(i) for i, t in enumerate(targets) if t != -100 and t == t)
    if not repeated:
        return 1.1
    return 0.1 + sigmoid(10 * (1 / frequency(label) / repeated - 0.9))


def balanced(
    logits: list[float], targets: list[float], weight: Callable[[int, list[float]], float]
) -> float:
    cells = []
    for label, (s, t) in enumerate(zip(logits, targets, strict=True)):
        if t == -100 or math.isnan(t):
            continue
        q, q_bar = sigmoid(s - shift(label)), sigmoid(2 * (s - shift(label)))
        up = -((1 - q) ** 2) * math.log(q)
        down = -(q_bar**2) * math.log(1 - q_bar) / 2
        cells.append(weight(label, targets) * (t * up + (1 - t) * down))
    return sum(cells) / max(len(cells), 1)


ROWS: dict[str, Callable[[list[float], list[float]], float]] = {
    "class_balanced": lambda s, t: balanced(s, t, lambda label, _: class_weight(label)),
    "distribution_balanced": lambda s, t: balanced(s, t, row_weight),
}
"""Losses of one example that know the frequency of each label."""

BATCHES: dict[str, Callable[[list[list[float]], list[list[float]]], list[float]]] = {
    "two_way": two_way,
    "sigmoid_f1": sigmoid_f1,
}
"""Losses of a batch, one value per example."""
