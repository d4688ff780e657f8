"""The end of a run on a terminal: 80 columns, plain without colours, and true to the numbers."""

from dataclasses import replace

from rich.console import Console

from tests.reports.builders import NAMES, make_logits, make_report, random_report
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.reports.report import Report
from zlpr_hf.reports.terminal import render_plain, report_parts
from zlpr_hf.reports.verdict import COMPARED, SVM_ROW, WeakLabel

CLEAR = Difference(0.1, 0.05, 0.15)
LEVEL = Difference(-0.01, -0.05, 0.03)
WORSE = Difference(-0.1, -0.15, -0.05)
UNKNOWN = Difference(0.01, None, None, "fewer than 10 rows differ")
WEAK = [
    WeakLabel("delivery", 0.312, 15, "tags", "5 of 8 tags look wrong"),
    WeakLabel("a very long name of a label\nin [bold] two lines", 0.71, 3, "missed", "why " * 40),
]


def judged(*differences: Difference) -> Report:
    report = make_report(NAMES, *make_logits())
    test = {SVM_ROW: dict.fromkeys(COMPARED, 0.5), **report.test}
    by_name = dict(zip(COMPARED, differences, strict=False))
    return replace(report, test=test, differences=by_name, weak_labels=WEAK, warnings=["odd " * 40])


def test_no_line_is_wider_than_the_terminal_or_has_escapes() -> None:
    many = random_report([f"label {number}" for number in range(200)])
    for report in (judged(CLEAR, LEVEL, UNKNOWN), judged(*[UNKNOWN] * 3), judged(), many):
        for width in (60, 80, 120):
            text = report.render(width=width)
            assert max(map(len, text.splitlines())) <= width
            assert "\x1b" not in text


def test_metrics_of_model_and_svm_are_shown() -> None:
    report = judged(CLEAR, LEVEL, UNKNOWN)
    rows = {line[:20].strip(): line[20:].split() for line in report.render().splitlines()}
    assert rows["this model"] == [f"{report.metrics[name]:.3f}" for name in COMPARED]
    assert rows[SVM_ROW] == ["0.500"] * 3
    assert rows["difference"] == ["+0.100", "-0.010", "+0.010"]
    assert rows["95 % interval"] == ["+0.05", "to", "+0.15", "-0.05", "to", "+0.03", "-"]


def test_sentence_names_the_relations() -> None:
    text = " ".join(judged(CLEAR, LEVEL, WORSE).render().split())
    better, level, worse = (text.index(word) for word in ("Better", "level", "worse"))
    assert text[better:level].endswith(" in F1 micro, ")
    assert text[level:worse].endswith(" in F1 macro, ")
    assert text[worse:].startswith("worse in exact match.")
    assert "60 test texts do not show differences below 0.04" in text
    assert "differ" not in judged(CLEAR, CLEAR, WORSE).render().partition("95 % interval")[2]
    assert UNKNOWN.missing in judged(UNKNOWN).render()


def test_weak_labels_have_a_bar_and_a_reason() -> None:
    lines = judged(LEVEL).render().splitlines()
    (first,) = [line for line in lines if line.startswith("delivery")]
    assert first.split()[1:3] == ["0.31", "███░░░░░░░"]
    assert WEAK[0].reason in first
    text = render_plain(report_parts(judged(LEVEL), ascii_only=True))
    assert "###-------" in text
    assert text.isascii() or "…" in text


def test_colours_have_a_meaning() -> None:
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as found:
        for part in report_parts(judged(CLEAR, LEVEL, WORSE)):
            console.print(part)
    for code, text in (("32", "+0.100"), ("33", "-0.010"), ("31", "-0.100"), ("33", "warning: ")):
        line, *_ = [line for line in found.get().splitlines() if text in line]
        assert f"\x1b[{code}m" in line.partition(text.strip())[0]
