"""Near-duplicates: the pairs of a double loop over all texts; ties, blanks and other scripts."""

import random
import re
from itertools import combinations, pairwise

from zlpr_hf.data.near_duplicates import MIN_SIMILARITY, find_near_duplicates

WORDS = [f"word{index}" for index in range(300)]


def make_texts() -> list[tuple[str, ...]]:
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=30)) for _ in range(60)]
    for text in texts[:20]:
        words = text.split()
        words[generator.randrange(30)] = "changed"
        texts.append(" ".join(words))
    return [(text,) for text in texts]


def similarity(first: str, second: str) -> float:
    one, two = (
        {(a, b) for a, b in pairwise(words)}
        for words in (re.findall(r"\w+", text.lower()) for text in (first, second))
    )
    return len(one & two) / len(one | two)


def test_pairs_are_those_of_all_comparisons() -> None:
    texts = make_texts()
    expected = {
        (first, second)
        for first, second in combinations(range(len(texts)), 2)
        if similarity(texts[first][0], texts[second][0]) >= MIN_SIMILARITY
    }
    assert len(expected) >= 15
    assert {pair[:2] for pair in find_near_duplicates(texts)} == expected


def test_case_and_punctuation_do_not_count() -> None:
    assert find_near_duplicates([("It works.",), ("it WORKS!",)]) == [(0, 1, 1.0)]


def test_blank_texts_have_no_duplicates() -> None:
    assert find_near_duplicates([("",), (" ",), ("...",)]) == []


def test_texts_of_one_word_and_other_scripts_are_compared() -> None:
    assert find_near_duplicates([("да",), ("да",), ("нет",)]) == [(0, 1, 1.0)]


def test_many_equal_texts_end_soon() -> None:
    assert 1999 <= len(find_near_duplicates([("the same text",)] * 2000)) < 10_000
