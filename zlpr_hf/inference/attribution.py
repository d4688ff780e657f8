"""Occlusion: how far each word of a text moves the logit of a label."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD

MAX_WORDS = 100
MAX_WORDS_READ = 100_000
"""Words read in all: a text of 5,000 words is read 20 times, so that it takes seconds."""

# Chinese and Japanese are written without spaces: each character counts as a word.
_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\s{_CHARACTERS}]+")


@dataclass(frozen=True)
class WordEffects:
    """The effect of each word on the logit of one label.

    Args:
        label: Name of the label.
        logit: Its logit with all words.
        pieces: The whole text in order: words with their effects; with None the space between words
            and the words beyond the first ones.
        words: Number of words of the text.
    """

    label: str
    logit: float
    pieces: tuple[tuple[str, float | None], ...]
    words: int

    @property
    def tried(self) -> int:
        """Number of words that were left out, one at a time."""
        return sum(effect is not None for _, effect in self.pieces)


def measure_words(
    classifier: Classifier, text: str, label: str | None = None, *, most: int = MAX_WORDS
) -> WordEffects:
    """Leave out each word once; its effect is the logit with all words minus the logit without it.

    This describes the model's behaviour on this text, not a reason: two words with the same meaning
    have little effect each, because the other one remains.

    Args:
        classifier: The model.
        text: One text.
        label: Name of a label; None for the label with the largest logit.
        most: Leave out at most this many words, the first ones; fewer in a very long text.

    Raises:
        InputError: If the model has no such label, the text has no words, or its logit is
            infinite, or a text without one of its words has no tokens.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    if not spans:
        raise InputError("text: expected at least one word")
    names = classifier.label_space.names
    if label is not None and label not in names:
        raise InputError(f"label: expected one of the model's {len(names)} labels, got {label!r}")
    tried = spans[: max(1, min(most, MAX_WORDS_READ // len(spans)))]
    without = [_leave_out(text, spans, index) for index in range(len(tried))]
    logits = classifier.compute_logits([(each,) for each in (text, *without)])
    column = int(logits[0].argmax()) if label is None else names.index(label)
    whole, *rest = logits[:, column].astype(float).tolist()
    if not np.isfinite([whole, *rest]).all() or -MAX_LOGIT_THRESHOLD in (whole, *rest):
        raise InputError(
            f"label {names[column]!r}: effects of words cannot be measured, since its logit is "
            "infinite or nothing is left of the text without a word"
        )
    pieces: list[tuple[str, float | None]] = []
    end = 0
    for (start, stop), logit in zip(tried, rest, strict=True):
        pieces += [(text[end:start], None), (text[start:stop], whole - logit)]
        end = stop
    pieces.append((text[end:], None))
    shown = tuple((piece, effect) for piece, effect in pieces if piece)
    return WordEffects(names[column], whole, shown, len(spans))


def _leave_out(text: str, spans: list[tuple[int, int]], index: int) -> str:
    """Return the text without a word and the space after it, or before it for the last word."""
    start, stop = spans[index]
    if index + 1 < len(spans):
        return text[:start] + text[spans[index + 1][0] :]
    return text[: spans[index - 1][1] if index else start] + text[stop:]
