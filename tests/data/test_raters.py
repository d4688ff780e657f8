"""Raters: counts of tags, and the share of cells in which a rater is alone."""

import numpy as np

from zlpr_hf.data.raters import count_ratings, find_rater_column


def test_tags_and_judgements_are_counted() -> None:
    targets = np.array([[1, 0], [1, 1], [0, np.nan], [1, 1]], dtype=np.float32)
    ratings = count_ratings(targets, [[0, 1, 2], [3]])
    assert ratings.yes.tolist() == [[2, 1], [1, 1]]
    assert ratings.total.tolist() == [[3, 2], [1, 1]]
    assert ratings.disagreement == {}


def test_rater_against_the_majority_is_named() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 0]], dtype=np.float32)
    ratings = count_ratings(targets, [[0, 1, 2]], ["ann", "ben", "cem"])
    # The others of ann and of ben are split over the first label, so that only the second counts.
    assert ratings.disagreement == {"ann": 0.0, "ben": 0.0, "cem": 0.5}


def test_column_of_raters_is_found_by_its_name() -> None:
    assert find_rater_column(["text", "Annotator", "labels"], ["text", "labels"]) == "Annotator"
    assert find_rater_column(["text", "annotator"], ["annotator"]) is None
    assert find_rater_column(["text", "labels"], ["text"]) is None
