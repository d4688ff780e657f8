"""Details of a label: labels that it is confused with, and texts with a wrong decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zlpr_hf.metrics.counts import count_confusions
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.metrics.paired_bootstrap import Bools
from zlpr_hf.reports.disagreements import EvaluatedSplit
from zlpr_hf.thresholds import compute_scores

MAX_EXAMPLES, MAX_CONFUSED = 3, 3
MAX_EXAMPLE_LENGTH = 200


class Example(NamedTuple):
    """A text, cut to a line or two, with its place and the score of the label in question."""

    place: str
    text: str
    score: float


@dataclass(frozen=True)
class LabelDetails:
    """A label with the reasons of its mistakes.

    Args:
        score: Test metrics.
        confused: Other labels with the opposite mistake in the same texts, and how many texts.
        missed: Tagged texts that the model denies the label, the lowest scores first.
        invented: Texts without the tag to which the model gives the label.
    """

    score: LabelScore
    confused: list[tuple[str, int]]
    missed: list[Example]
    invented: list[Example]

    @property
    def has_mistakes(self) -> bool:
        """True if any decision on the label is wrong."""
        return bool(self.missed or self.invented)


def find_label_details(
    label_scores: Sequence[LabelScore],
    chosen: Sequence[LabelScore],
    split: EvaluatedSplit,
    missed: Bools,
    invented: Bools,
) -> list[LabelDetails]:
    """Return the details of chosen labels, in their order, from the wrong cells of a split."""
    columns = {each.label: column for column, each in enumerate(label_scores)}
    names = list(columns)
    return [
        LabelDetails(
            score,
            _find_confused(column, missed, invented, names),
            _find_examples(split, column, missed, ascending=True),
            _find_examples(split, column, invented, ascending=False),
        )
        for score in chosen
        for column in [columns[score.label]]
    ]


def _find_confused(
    column: int, missed: Bools, invented: Bools, names: Sequence[str]
) -> list[tuple[str, int]]:
    counts = count_confusions(missed, invented, column)
    order = np.argsort(-counts, kind="stable")[:MAX_CONFUSED]
    return [(names[other], int(counts[other])) for other in order.tolist() if counts[other]]


def _find_examples(
    split: EvaluatedSplit, column: int, cells: Bools, *, ascending: bool
) -> list[Example]:
    logits: Any = np.asarray(split.logits)[:, column]
    rows = np.flatnonzero(cells[:, column])
    order = np.argsort(logits[rows] if ascending else -logits[rows], kind="stable")
    return [
        Example(
            split.places[row],
            shorten_text(" / ".join(split.texts[row])),
            float(compute_scores(logits[row])),
        )
        for row in rows[order][:MAX_EXAMPLES].tolist()
    ]


def shorten_text(text: str, limit: int = MAX_EXAMPLE_LENGTH) -> str:
    """Return a text on one line, cut between words if it has any.

    Example:
        >>> shorten_text("one two three", 8)
        'one two…'
    """
    line = " ".join(text[: 4 * limit].split())
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    cut = line[:limit].rfind(" ")
    return line[: cut if cut > limit // 2 else limit].rstrip() + "…"
