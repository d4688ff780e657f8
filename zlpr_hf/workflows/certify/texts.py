"""The texts of a certificate: a sample of the user's, and hard cases of our own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.windows import Texts, find_blank
from zlpr_hf.reports.certificate import CheckedTexts

LONG_FACTOR = 3
"""The long case has this many times the tokens that the model reads at once, or more."""
MAX_LONG_CHARACTERS = 200_000


def sample_texts(texts: Texts, count: int) -> list[tuple[str, ...]]:
    """Return up to ``count`` texts, evenly spaced, without repetitions.

    Example:
        >>> sample_texts([("a",), ("b",), ("a",), ("c",)], 2)
        [('a',), ('c',)]
    """
    different = list(dict.fromkeys(tuple(row) for row in texts))
    chosen = np.linspace(0, len(different) - 1, min(count, len(different)))
    return [different[round(place)] for place in chosen]


def hard_cases(classifier: Classifier, texts: Texts) -> list[tuple[str, ...]]:
    """Return texts on which servers differ most often, as pairs if the model reads pairs."""
    example = next((row[0] for row in texts if row[0].strip()), "a text")
    special = " ".join(map(str, classifier.tokenizer.all_special_tokens[:4]))
    cases = [
        "",
        " \n\t  ",
        "a",
        _long_text(classifier, texts),
        "z" * 5_000,
        f"{example} {special}",
        f"  {example}\r\n\r\n\t{example}  ",
        example.upper(),
        "naïve Café Ångström ½ “quotes” — ﬁne",
        "这个产品不检查权限。製品は確認しません。",
        "لا يتحقق المنتج من الهوية",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200b\u00a0\ufeff",
        "<b>5 &lt; 6</b> {{x}} \\n %s ' OR 1=1 --",
        "bell \x07 and null \x00 inside",
    ]
    return [(case,) * len(texts[0]) for case in cases]


def describe_texts(classifier: Classifier, texts: Texts, hard: int) -> CheckedTexts:
    """Return the facts of texts that explain differences; the last ``hard`` are hard cases."""
    special = [str(token) for token in classifier.tokenizer.all_special_tokens]
    long = [bool(classifier.count_long([row])) for row in texts]
    return CheckedTexts(
        texts=[" / ".join(row) for row in texts],
        hard_cases=hard,
        blank=find_blank(texts),
        long=np.array(long, dtype=bool),
        special=np.array([_holds(row, special) for row in texts], dtype=bool),
    )


def _long_text(classifier: Classifier, texts: Texts) -> str:
    """Return texts of the user in a row, with more tokens than the model reads at once."""
    words = [row[0] for row in texts if row[0].strip()] or ["a text"]
    limit = LONG_FACTOR * classifier.tokenizer.model_max_length
    long, place = "", 0
    while len(long) < MAX_LONG_CHARACTERS:
        long = f"{long} {words[place % len(words)]}".strip()
        place += 1
        if len(long) > limit and len(_tokens(classifier, long)) > limit:
            break
    return long


def _tokens(classifier: Classifier, text: str) -> list[int]:
    ids: list[int] = classifier.tokenizer(text, truncation=False, verbose=False)["input_ids"]
    return ids


def _holds(row: Sequence[str], special: Sequence[str]) -> bool:
    return any(token in text for text in row for token in special)
