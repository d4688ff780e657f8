"""Firm disagreements of model and tags, from hand-made logits."""

import numpy as np

from zlpr_hf.metrics.multi_label import LabelScore, compute_label_scores
from zlpr_hf.reports.disagreements import MAX_ROWS, EvaluatedSplit, find_disagreements

NAMES = ["red", "green"]
KNOWN_WELL = [LabelScore(name, 1, 1, 0.9, None, 9, 9) for name in NAMES]


def split(logits: object, targets: object, name: str = "test") -> EvaluatedSplit:
    rows = len(np.asarray(targets))
    return EvaluatedSplit(
        np.array(logits, np.float32),
        np.array(logits, np.float32) > 0,
        np.array(targets, np.float32),
        [("text",)] * rows,
        [f"{name}.csv:{row + 2}" for row in range(rows)],
    )


def test_firm_cells_of_all_splits_are_listed_with_their_place() -> None:
    test = split([[9, -9], [9, 9], [0.5, -0.5], [-9, 9]], [[1, 0], [0, 1], [0, 1], [np.nan, 1]])
    validation = split([[-4, -9], [-6, 9]], [[1, 0], [1, 1]], "validation")
    found = find_disagreements({"test": test, "validation": validation}, KNOWN_WELL)
    assert [(each.label, each.kind, each.place) for each in found] == [
        ("red", "untagged", "test.csv:3"),
        ("red", "doubted", "validation.csv:3"),
        ("red", "doubted", "validation.csv:2"),
    ]
    assert [(each.split, each.row) for each in found[1:]] == [("validation", 1), ("validation", 0)]
    assert found[0].score > 0.99 > 0.01 > found[1].score


def test_labels_with_most_disagreements_come_first_and_lists_are_short() -> None:
    logits = np.full((20, 2), -9.0)
    logits[:3, 0], logits[:9, 1] = 9, 9
    found = find_disagreements({"test": split(logits, np.zeros((20, 2)))}, KNOWN_WELL)
    assert [each.label for each in found] == ["green"] * MAX_ROWS + ["red"] * 3


def test_labels_that_the_model_does_not_know_are_left_out() -> None:
    test = split([[-9, 9], [-9, 9], [9, -9]], [[1, 1], [1, 1], [0, 1]])
    scores = compute_label_scores(test.logits, test.targets, NAMES)
    found = find_disagreements({"test": test}, scores)
    assert {each.label for each in found} == {"green"}
