"""The sentences at the top of a report hold the numbers that they are made of."""

from dataclasses import replace
from typing import Any

import pytest

from tests.reports.builders import NAMES, make_logits, make_report
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.reports.report import Report
from zlpr_hf.reports.summary import render_history, summarise
from zlpr_hf.reports.verdict import HistoryEntry, WeakLabel


def report(**changes: Any) -> Report:
    return replace(make_report(NAMES, *make_logits()), **changes)


def history(losses: list[float | None], kept: int) -> list[HistoryEntry]:
    return [
        HistoryEntry(float(place + 1), 1.0, loss, 0.5, 0.5, place == kept)
        for place, loss in enumerate(losses)
    ]


def test_verdict_and_weak_labels_come_first() -> None:
    weak = [WeakLabel(name, 0.125, 9, "missed", f"reason of {name}") for name in NAMES]
    found = report(differences={"f1_micro": Difference(0.0254, 0.0051, 0.0449)}, weak_labels=weak)
    verdict, labels = summarise(found, [])
    assert verdict == found.verdict
    assert "+0.025" in verdict
    assert [f"reason of {name}" in labels for name in NAMES] == [True, True, True, False, False]
    assert "0.12" in labels


def test_without_a_baseline_the_numbers_stand_alone() -> None:
    found = report()
    first, *_ = summarise(found, [])
    assert f"{found.metrics['f1_micro']:.3f}" in first


def test_label_in_most_of_the_worst_mistakes_is_named() -> None:
    mistakes = [{"grey", "red"}, {"grey"}, {"grey", "blue"}, {"grey"}, {"grey", "green"}, {"red"}]
    line = summarise(report(), mistakes)[-1]
    assert "\u2068grey\u2069 is in 5 of the 6" in line
    assert summarise(report(), [*mistakes[2:], {"blue"}, {"red"}])[1:] == []
    assert summarise(report(), mistakes[:4])[1:] == []


@pytest.mark.parametrize(
    ("losses", "kept", "numbers"),
    [
        ([3.0, 1.9, 2.1, 3.2], 3, ["2 epochs", "epoch 2"]),
        ([3.0, 1.9, 2.1, 3.2], 1, ["2 of 4", "lowest"]),
        ([3.0, 1.9, 2.1, 3.2], 2, ["3 of 4", "epoch 2"]),
    ],
)
def test_history_names_the_epoch_with_the_lowest_loss(
    losses: list[float | None], kept: int, numbers: list[str]
) -> None:
    line = render_history(history(losses, kept))
    assert all(number in line for number in numbers)


def test_history_without_validation_says_nothing() -> None:
    assert render_history(history([None, None], 1)) == ""
    assert render_history(history([2.0], 0)) == ""
    assert render_history([]) == ""
