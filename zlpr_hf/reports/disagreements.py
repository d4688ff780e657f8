"""Disagreements: decisions in which the model confidently contradicts the tags of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.thresholds import compute_scores

CONFIDENT_SCORE = 0.8
"""Score above which, or below whose complement, the model is confident."""
MIN_F1 = 0.5
"""Labels with a lower F1 are left out: their scores say little about the tags."""
MAX_LABELS, MAX_ROWS = 10, 5
"""Labels with disagreements, and rows of each of their two lists."""

Kind = Literal["untagged", "doubted"]


@dataclass(frozen=True)
class EvaluatedSplit:
    """Logits, decisions and targets ``(N, L)`` of a split, and the text and place of each row."""

    logits: Any
    decided: Any
    targets: Any
    texts: Sequence[tuple[str, ...]]
    places: Sequence[str]


@dataclass(frozen=True)
class Disagreement:
    """A cell in which model and tag disagree.

    Args:
        label: Name of the label.
        kind: ``untagged`` if the model says the label and the tag is missing, ``doubted`` if the
            row is tagged and the model doubts it.
        split: Name of the split.
        row: Row of the split, from 0.
        place: File and line, or number, of the row.
        score: Score of the label.
    """

    label: str
    kind: Kind
    split: str
    row: int
    place: str
    score: float


def find_disagreements(
    splits: Mapping[str, EvaluatedSplit], label_scores: Sequence[LabelScore]
) -> list[Disagreement]:
    """Return the most confident disagreements, the labels with most of them first.

    Labels that the model does not know well are left out.
    """
    found: list[tuple[int, list[Disagreement]]] = []
    for place, label in enumerate(label_scores):
        if label.f1 < MIN_F1:
            continue
        cells = [
            cell for name, split in splits.items() for cell in _find_in_split(name, split, place)
        ]
        if not cells:
            continue
        shown: list[Disagreement] = []
        for kind in ("untagged", "doubted"):
            chosen = [cell for cell in cells if cell[0] == kind]
            chosen.sort(key=lambda cell: -abs(cell[3] - 0.5))
            shown += [
                Disagreement(label.label, kind, name, row, splits[name].places[row], score)
                for _, name, row, score in chosen[:MAX_ROWS]
            ]
        found.append((len(cells), shown))
    found.sort(key=lambda each: -each[0])
    return [cell for _, cells in found[:MAX_LABELS] for cell in cells]


def _find_in_split(
    name: str, split: EvaluatedSplit, label: int
) -> list[tuple[Kind, str, int, float]]:
    scores = compute_scores(np.asarray(split.logits)[:, label])
    truth = np.asarray(split.targets, dtype=np.float32)[:, label]
    present, known = truth >= 0.5, known_mask(truth)
    kinds: dict[Kind, Any] = {
        "untagged": known & ~present & (scores > CONFIDENT_SCORE),
        "doubted": known & present & (scores < 1 - CONFIDENT_SCORE),
    }
    return [
        (kind, name, row, float(scores[row]))
        for kind, cells in kinds.items()
        for row in np.flatnonzero(cells).tolist()
    ]
