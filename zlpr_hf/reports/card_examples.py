"""Real texts of a model card, with the labels that the model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zlpr_hf.thresholds import compute_scores

MAX_EXAMPLES = 3
MIN_LENGTH, MAX_LENGTH = 16, 300
"""Characters of an example."""


@dataclass(frozen=True)
class CardExample:
    """A text, and its predicted labels with their scores, the highest first."""

    text: str
    labels: Sequence[tuple[str, float]] = ()


def choose_examples(
    texts: Sequence[str], logits: Any, decided: Any, names: Sequence[str]
) -> list[CardExample]:
    """Return the first texts of a handy length for which a label is predicted.

    Whether the predictions are right plays no part.
    """
    scores = compute_scores(logits)
    found = []
    for row, text in enumerate(texts):
        line = " ".join(text.split())
        if MIN_LENGTH <= len(line) <= MAX_LENGTH and decided[row].any():
            order = [i for i in np.argsort(-scores[row], kind="stable").tolist() if decided[row, i]]
            found.append(CardExample(line, [(names[i], float(scores[row, i])) for i in order]))
        if len(found) == MAX_EXAMPLES:
            break
    return found
