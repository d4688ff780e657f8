"""Differences from the SVM, weak labels with a reason, and the history, from hand-made numbers."""

from typing import Any

import numpy as np
import pytest

from zlpr_hf.metrics.multi_label import LabelScore, compute_label_scores
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.reports.verdict import (
    COMPARED,
    Mistakes,
    compare_with_baseline,
    find_weak_labels,
    read_history,
    render_verdict,
)

NAMES = ["red", "green", "blue"]
COUNTS = dict.fromkeys(NAMES, 100)


def test_differences_are_those_of_counted_decisions() -> None:
    targets = np.tile(np.eye(2, dtype=np.float32), (50, 1))
    model, baseline = targets > 0, targets > 0
    model[:10, 0] ^= True  # 5 missed, 5 invented
    baseline[:40, 0] ^= True
    found = compare_with_baseline(model, baseline, targets)
    assert set(found) == set(COMPARED)
    f1 = [2 * (100 - n) / (200 + 0) for n in (5, 20)]  # as many invented as missed
    assert found["f1_micro"].difference == pytest.approx(f1[0] - f1[1])
    assert found["subset_accuracy"].difference == pytest.approx(0.9 - 0.6)
    assert all(each.relation == "better" for each in found.values())
    worse = compare_with_baseline(baseline, model, targets)
    assert worse["f1_micro"].difference == pytest.approx(-found["f1_micro"].difference)
    assert {each.relation for each in worse.values()} == {"worse"}
    alike = model.copy()
    alike[[0, 1, 2, 10, 11, 12], 0] ^= True  # undoes three mistakes, makes three others
    few = compare_with_baseline(alike, model, targets)
    assert {each.relation for each in few.values()} == {None}
    assert all(each.missing for each in few.values())


def test_verdict_groups_metrics_by_their_relation() -> None:
    differences = {
        "f1_micro": Difference(0.0254, 0.0051, 0.0449),
        "f1_macro": Difference(0.01, None, None, "reason"),
        "subset_accuracy": Difference(-0.002, -0.05, 0.04),
    }
    sentence = render_verdict(differences)
    better, level, unclear = sentence.split("; ")
    assert [word in better for word in ("+0.025", "+0.005", "+0.045", "better")] == [True] * 4
    assert [word in level for word in ("-0.002", "-0.050", "+0.040", "level")] == [True] * 4
    assert [word in unclear for word in ("+0.010", "reason")] == [True] * 2
    assert render_verdict({}) == ""


def weak(logits: Any, targets: Any, cut: Any = None, counts: dict[str, int] = COUNTS) -> Any:
    scores = compute_label_scores(logits, targets, NAMES)
    cut = np.zeros(len(targets)) if cut is None else cut
    return find_weak_labels(scores, counts, Mistakes.from_logits(logits, logits > 0, targets, cut))


def made() -> tuple[Any, Any]:
    """Twenty rows per label, all decided rightly and without much confidence."""
    targets = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    return targets - 0.5, targets


def test_labels_without_a_mistake_are_not_weak() -> None:
    assert weak(*made()) == []


def test_lowest_f1_comes_first_and_unseen_labels_are_left_out() -> None:
    scores = [LabelScore(name, 0, 0, f1, None, support, 1) for name, f1, support in [
        ("a", 0.5, 9), ("b", 0.1, 3), ("c", 0.0, 0), ("d", 0.1, 7), ("e", 1.0, 4),
    ]]  # fmt: skip
    found = find_weak_labels(scores, dict.fromkeys("abcde", 50))
    assert [(each.label, each.f1, each.support) for each in found] == [
        ("d", 0.1, 7), ("b", 0.1, 3), ("a", 0.5, 9),
    ]  # fmt: skip
    assert [each.label for each in find_weak_labels(scores, dict.fromkeys("abcde", 50), limit=1)]


def test_label_that_ranks_well_is_cut_by_the_threshold() -> None:
    logits, targets = made()
    logits[:, 0] -= 1  # the order stays
    (found,) = weak(logits, targets)
    assert (found.label, found.f1, found.support, found.cause) == ("red", 0.0, 20, "threshold")
    assert "1.00" in found.reason
    logits[:2, 0] += 1
    assert weak(logits, targets)[0].cause == "threshold"
    logits[:6, 0] = 0.5
    assert weak(logits, targets)[0].cause == "missed"


def test_few_training_or_test_texts_are_the_reason() -> None:
    logits, targets = made()
    logits[:10, 0] = -0.4
    assert weak(logits, targets, counts=COUNTS | {"red": 19})[0].cause == "few training texts"
    assert weak(logits, targets, counts=COUNTS | {"red": 20})[0].cause == "missed"
    targets[:16, 0] = 0
    targets[19, 0] = 1
    logits[16:, 0] = -0.5
    assert weak(logits, targets)[0].cause == "few test texts"


def test_confused_labels_are_named() -> None:
    logits, targets = made()
    logits[:4, :2] = [-0.4, 0.4]  # four red ones are taken for green, two for nothing
    logits[4:6, 0] = -0.4
    red, green = weak(logits, targets)
    assert (red.label, red.cause, green.label, green.cause) == (
        "red", "confusion", "green", "confusion",
    )  # fmt: skip
    assert "green in 4 of 6" in red.reason
    assert "red in 4 of 4" in green.reason


def test_cut_texts_are_the_reason_if_they_are_missed_more_often() -> None:
    logits, targets = made()
    logits[:6, 0] = -0.4
    cut = np.zeros(60)
    cut[:5] = 1
    assert weak(logits, targets, cut)[0].cause == "cut texts"
    assert weak(logits, targets, np.ones(60))[0].cause == "missed"


def test_firm_disagreement_points_to_the_tags() -> None:
    logits, targets = made()
    logits[:4, 0] = -9
    assert weak(logits, targets)[0].cause == "tags"
    logits[:4, 0] = -0.4
    assert weak(logits, targets)[0].cause == "missed"


def test_invented_and_missed_texts_are_counted() -> None:
    logits, targets = made()
    logits[:4, 0] = -0.4
    logits[20:23, 0] = 0.4
    found = weak(logits, targets)[0]
    assert (found.cause, "4 of 20" in found.reason) == ("missed", True)
    logits[23:26, 0] = 0.4
    found = weak(logits, targets)[0]
    assert (found.cause, "6 of 22" in found.reason) == ("invented", True)


def test_unknown_targets_are_no_mistakes() -> None:
    logits, targets = made()
    logits[:5, 0], targets[:5, 0] = -0.4, np.nan
    assert weak(logits, targets) == []


def entry(step: int, **values: float) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, **values}


def test_history_has_one_entry_per_evaluation() -> None:
    log = [
        entry(5, loss=4.0, learning_rate=1.0),
        entry(10, loss=2.0),
        entry(10, eval_loss=1.9, eval_f1_micro=0.5, eval_f1_macro=0.4),
        entry(18, loss=1.0),
        entry(20, loss=2.0),
        entry(20, eval_loss=2.1, eval_f1_micro=0.6, eval_f1_macro=0.3),
        entry(20, train_loss=1.5, train_runtime=9.0),
    ]
    found = read_history(log, 10)
    assert [(each.epoch, each.validation_loss, each.f1_micro) for each in found] == [
        (1.0, 1.9, 0.5), (2.0, 2.1, 0.6),
    ]  # fmt: skip
    assert [each.train_loss for each in found] == [3.0, pytest.approx((8 * 1 + 2 * 2) / 10)]
    assert [each.kept for each in found] == [True, False]
    assert [each.kept for each in read_history(log, None)] == [False, True]


def test_history_without_evaluations_has_the_training_losses() -> None:
    found = read_history(
        [entry(10, loss=2.0), entry(20, loss=1.0), entry(20, train_loss=1.5)], None
    )
    assert [(each.train_loss, each.validation_loss, each.kept) for each in found] == [
        (2.0, None, False), (1.0, None, True),
    ]  # fmt: skip
    assert read_history([entry(20, train_loss=1.5)], None) == []
