"""Words left out one at a time, against known weights and against a stock model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zlpr_hf import InputError
from zlpr_hf.inference.attribution import measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.labels import LabelSpace

WEIGHTS = {"good": (2.0, -1.0), "bad": (-3.0, 1.5), "not": (-0.5, 0.25), "日": (0.75, 4.0)}
BIAS = (0.125, -0.25)


class BagOfWords:
    """Logits are sums of word weights, so that the effect of each word is known."""

    label_space = LabelSpace(("praise", "blame"))

    def __init__(self) -> None:
        self.read: list[str] = []

    def compute_logits(self, texts: list[tuple[str, ...]]) -> Any:
        self.read = [text for (text,) in texts]
        spaced = [text.replace("日", " 日 ").split() for text in self.read]
        rows = [[WEIGHTS.get(word, (0.0, 0.0)) for word in words] for words in spaced]
        return np.array([np.sum([BIAS, *row], axis=0) for row in rows], np.float32)


@pytest.fixture
def bag() -> Any:
    return BagOfWords()


def effects_of(found: Any) -> list[tuple[str, float]]:
    return [(piece, effect) for piece, effect in found.pieces if effect is not None]


def test_effects_equal_the_word_weights(bag: Any) -> None:
    text = " good,  \n not bad\tgood 日日 odd "
    for column, name in enumerate(("praise", "blame")):
        found = measure_words(bag, text, name)
        words = ["good,", "not", "bad", "good", "日", "日", "odd"]
        expected = [(word, WEIGHTS.get(word, (0.0, 0.0))[column]) for word in words]
        assert effects_of(found) == expected
        assert "".join(piece for piece, _ in found.pieces) == text
        assert found.label == name
        assert found.logit == BIAS[column] + sum(effect for _, effect in expected)
        assert (found.tried, found.words) == (7, 7)


def test_default_label_is_the_best_one(bag: Any) -> None:
    assert measure_words(bag, "good").label == "praise"
    assert measure_words(bag, "bad").label == "blame"
    assert measure_words(bag, "bad", "praise").logit == BIAS[0] - 3


def test_word_is_left_out_with_the_space_after_it(bag: Any) -> None:
    measure_words(bag, "a\nb c.")
    assert bag.read == ["a\nb c.", "b c.", "a\nc.", "a\nb"]
    measure_words(bag, " good ")
    assert bag.read == [" good ", "  "]


def test_long_text_has_its_first_words_tried(bag: Any) -> None:
    found = measure_words(bag, "good bad not not", "praise", most=2)
    assert effects_of(found) == [("good", WEIGHTS["good"][0]), ("bad", WEIGHTS["bad"][0])]
    assert found.pieces[-1] == (" not not", None)
    assert (found.tried, found.words) == (2, 4)
    # The total stays bounded: with five times the words a fifth of them is tried.
    assert measure_words(bag, "not " * 1000).tried == 100
    assert measure_words(bag, "not " * 5000).tried == 20
    assert measure_words(bag, "not " * 200_000).tried == 1


@pytest.mark.parametrize("text", ["", " \n "])
def test_text_without_words_is_refused(bag: Any, text: str) -> None:
    with pytest.raises(InputError, match="text: expected at least one word"):
        measure_words(bag, text)


def test_unknown_label_is_refused(bag: Any) -> None:
    message = "label: expected one of the model's 2 labels, got 'thanks'"
    with pytest.raises(InputError, match=message):
        measure_words(bag, "good", "thanks")


def test_effects_equal_differences_of_a_stock_model(finished: tuple[Path, Any]) -> None:
    texts = ["red sky and blue", "sky and blue", "red and blue", "red sky blue", "red sky and"]
    model = AutoModelForSequenceClassification.from_pretrained(finished[0]).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished[0])
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    for name, index in model.config.label2id.items():
        found = measure_words(Classifier.load(str(finished[0])), texts[0], name)
        expected = [float(logits[0][index] - logit[index]) for logit in logits[1:]]
        np.testing.assert_allclose([each for _, each in effects_of(found)], expected, atol=1e-4)
        assert found.logit == pytest.approx(float(logits[0][index]), abs=1e-5)


@pytest.mark.parametrize("size", [np.inf, -np.inf])
def test_effects_on_an_infinite_logit_are_refused(
    bag: Any, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WEIGHTS, "good", (size, 0.0))
    with pytest.raises(InputError, match="'praise': effects of words cannot be measured"):
        measure_words(bag, "good day", "praise")
    assert effects_of(measure_words(bag, "good day", "blame")) == [("good", 0.0), ("day", 0.0)]
