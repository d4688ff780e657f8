"""The comparison of label sets: causes, counts, and the section of the model card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zlpr_hf.reports.certificate import (
    CARD_MARKS,
    Answers,
    Certificate,
    CheckedTexts,
    Comparison,
    compare,
    insert_section,
    shorten,
)
from zlpr_hf.reports.model_card import USE_MARKS

NAMES = ["a", "b"]
TEXTS = ["plain", "near", "long", "[SEP]", "  "]
CHECKED = CheckedTexts(
    texts=TEXTS,
    hard_cases=1,
    blank=np.array([0, 0, 0, 0, 1], bool),
    long=np.array([0, 0, 1, 0, 0], bool),
    special=np.array([0, 0, 0, 1, 0], bool),
)
LOGITS = np.array([[2, -1], [1e-5, -2], [1, -1], [1, -1], [-1e4, -1e4]], np.float32)
MODEL = Answers(LOGITS > 0, LOGITS)


def answer(changes: dict[tuple[int, int], float]) -> Answers:
    logits = LOGITS.copy()
    for place, value in changes.items():
        logits[place] = value
    return Answers(logits > 0, logits)


def compared(answers: Answers, *, required: bool = True, tolerance: float | None = 1e-3):  # type: ignore[no-untyped-def]
    return compare(
        "x",
        "logit > 0",
        answers,
        model=MODEL,
        checked=CHECKED,
        labels=NAMES,
        tolerance=tolerance,
        required=required,
    )


@pytest.mark.parametrize(
    ("place", "value", "cause", "failed"),
    [
        ((1, 0), -1e-5, "rounding", False),
        ((0, 0), -0.5, "other", True),
        ((1, 0), -0.5, "other", True),
        ((2, 1), 0.5, "long text", True),
        ((3, 1), 0.5, "special token", True),
        ((4, 0), 0.5, "blank text", False),
    ],
)
def test_cause_of_a_difference(
    place: tuple[int, int], value: float, cause: str, failed: bool
) -> None:
    found = compared(answer({place: value}))
    assert found.causes == {cause: 1}
    assert found.failed is failed
    (difference,) = found.differences
    assert (difference.text, difference.label) == (TEXTS[place[0]], NAMES[place[1]])
    assert difference.predicted_by == ("model" if value < 0 else "backend")
    assert difference.model_logit == pytest.approx(float(LOGITS[place]), abs=1e-6)
    assert difference.backend_logit == pytest.approx(value, abs=1e-6)
    hard = place[0] == 4
    assert (found.equal_texts, found.equal_hard_cases) == ((4, 0) if hard else (3, 1))
    assert not compared(answer({place: value}), required=False).failed


def test_equal_answers() -> None:
    found = compared(answer({(0, 1): -1.25}))
    assert (found.equal_texts, found.texts, found.equal_hard_cases, found.hard_cases) == (
        4, 4, 1, 1
    )  # fmt: skip
    assert found.causes == {}
    assert found.largest_difference == pytest.approx(0.25)


def test_a_text_counts_with_its_worst_cause() -> None:
    found = compared(answer({(1, 0): -1e-5, (1, 1): 2.0}))
    assert found.causes == {"other": 1}
    assert [each.cause for each in found.differences] == ["rounding", "other"]


def test_limits_on_labels_and_refused_texts() -> None:
    predicted = MODEL.predicted.copy()
    predicted[0, 1] = True  # as min_labels 2 would
    model = Answers(predicted, LOGITS)
    refused = np.array([0, 0, 0, 1, 1], bool)
    found = compare(
        "x",
        "score > 0.5",
        Answers(MODEL.predicted, LOGITS, refused),
        model=model,
        checked=CHECKED,
        labels=NAMES,
        tolerance=1e-3,
        required=True,
    )
    assert found.causes == {"blank text": 1, "label limits": 1, "refused": 1}
    assert found.failed


def test_cause_that_the_model_explains() -> None:
    found = compare(
        "x",
        "logit > 0",
        answer({(0, 0): -0.5, (2, 1): 0.5}),
        model=MODEL,
        checked=CHECKED,
        labels=NAMES,
        tolerance=1e-3,
        required=True,
        otherwise="head bias",
    )
    assert found.causes == {"long text": 1, "head bias": 1}
    assert found.failed


def test_measured_tolerance_is_ten_times_the_median() -> None:
    moved = LOGITS + np.float32(0.01)
    moved[1, 0] = -0.05
    found = compared(Answers(moved > 0, moved), tolerance=None)
    assert found.tolerance == pytest.approx(0.1, rel=1e-3)
    assert found.causes == {"rounding": 1}


def test_unknown_logits_are_not_compared() -> None:
    logits = np.where(LOGITS > 0, LOGITS, np.nan).astype(np.float32)
    found = compared(Answers(np.isfinite(logits), logits))
    assert found.causes == {}
    assert found.largest_difference == 0


def certificate(*backends: Comparison) -> Certificate:
    return Certificate("m", "f", "4 texts", 2, "2026-01-02T03:04:05", ["a <note>"], [*backends], {})


def test_card_keeps_one_certificate_and_quotes_no_text(tmp_path: Path) -> None:
    start, end = USE_MARKS
    before, after = f"# Card\n\n{start}\nuse\n{end}\n", "## Training data\n\nrows\n"
    (tmp_path / "README.md").write_text(before + after)
    first = certificate(compared(answer({(0, 0): -0.5})))
    assert first.failed == ["x"]
    assert first.save(tmp_path)
    once = (tmp_path / "README.md").read_text()
    assert once.startswith(before)
    assert once.endswith(after)
    assert "| x | logit &#62; 0 | 3 of 4 | 1 of 1 |" in once
    assert "plain" not in once
    not_run = Comparison("y", "score > 0.5", required=True, not_run="y is not installed")
    second = replace(first, backends=[not_run])
    assert second.failed == []
    second.save(tmp_path)
    twice = (tmp_path / "README.md").read_text()
    assert twice.count(CARD_MARKS[0]) == 1
    assert "| y | score &#62; 0.5 | - | - | - | not run: y is not installed |" in twice
    assert "| x |" not in twice


def test_card_without_marks_and_no_card(tmp_path: Path) -> None:
    assert insert_section("# Own card\n", "## C").startswith("# Own card\n\n")
    assert not certificate().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["certificate.json"]


def test_terminal_shows_the_text_and_both_logits() -> None:
    printed = certificate(compared(answer({(0, 0): -0.5}))).render()
    assert max(map(len, printed.splitlines())) <= 80
    assert all(word in printed for word in ('"plain"', "+2.0000", "-0.5000", "a <note>"))


def test_shortened_texts_are_printable() -> None:
    assert shorten("a\nb \x07") == "a b \\x07"
    assert shorten(" \n") == " \\x0a"
    assert len(shorten("word " * 100)) == 60
