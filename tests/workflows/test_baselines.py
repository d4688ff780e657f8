"""Baselines are fitted on known targets, as if unknown ones were not in the data."""

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from zlpr_hf.workflows.baselines import predict_most_frequent_set, predict_tfidf_svm

UNKNOWN = [np.nan, -100.0]


def made(rows: int = 300) -> tuple[list[str], Any]:
    """Texts whose second half of the words tells the label."""
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    targets = (generator.random((rows, 2)) < 0.5).astype(float)
    texts = [
        " ".join([*generator.choice(words, 6), *np.array(["red", "blue"])[row > 0]])
        for row in targets
    ]
    return texts, targets


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_svm_of_a_label_is_fitted_on_the_rows_that_know_it(unknown: float) -> None:
    texts, targets = made()
    given = targets.copy()
    given[(np.random.default_rng(1).random(given.shape) < 0.8) & (given == 1)] = unknown
    known = given == targets
    found = predict_tfidf_svm(texts, given, texts)
    for label in range(2):
        rows = known[:, label]
        vectorizer = TfidfVectorizer().fit(np.array(texts)[rows])
        features = vectorizer.transform(texts)
        svm = LinearSVC(class_weight="balanced", max_iter=20_000, random_state=0)
        svm.fit(features[rows], targets[rows, label])
        assert found is not None
        assert found[:, label].tolist() == svm.predict(features).astype(bool).tolist()
    assert (found == targets).mean() > 0.9


def test_unjudged_label_is_not_predicted() -> None:
    texts, targets = made(40)
    targets[:, 1] = np.nan
    found = predict_tfidf_svm(texts, targets, texts)
    assert found is not None
    assert not found[:, 1].any()
    targets[5:, 0] = np.nan
    targets[:5, 0] = 1
    found = predict_tfidf_svm(texts, targets, texts)
    assert found is not None
    assert found[:, 0].all(), "every row that knows the label has it"


def test_label_whose_known_texts_have_no_words_is_not_predicted() -> None:
    targets = np.array([[1, 0], [0, 1], [np.nan, 1]])
    found = predict_tfidf_svm(["!", "?", "red dog"], targets, ["red", "!"])
    assert found is not None
    assert not found[:, 0].any()


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_most_frequent_set_comes_from_wholly_known_rows(unknown: float) -> None:
    u = unknown
    targets = np.array(
        [[1, 0, u], [1, 1, u], [1, 1, u], [u, 0, u], [u, 0, u], [0, u, u], [u, u, u]]
    )
    frequent = predict_most_frequent_set(targets, 2)
    assert frequent is not None
    assert frequent.tolist() == [[True, True, False]] * 2
    assert predict_most_frequent_set(targets[3:], 2) is None
    assert predict_most_frequent_set(targets[-1:], 2) is None
