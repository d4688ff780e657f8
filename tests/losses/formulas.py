"""The formulas of the papers, label by label in Python's own floats; unknown labels left out."""

from __future__ import annotations

import math
from collections.abc import Callable

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
