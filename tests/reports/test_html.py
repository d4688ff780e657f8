"""report.html: numbers against the report, strings against markup, the page in Chromium."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import open_browser, requires_browser
from tests.reports.builders import NAMES, made, report_of
from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.reports.figures import (
    OFFSETS,
    compute_moved_metrics,
    draw_pairs,
    draw_precision_recall,
    draw_reliability,
    find_gaps,
)
from zlpr_hf.reports.html import MAX_LABELS, MAX_TEXT_LENGTH, render_html_report, save_html_report
from zlpr_hf.reports.report import MODEL_ROW

HOSTILE = [
    "<script>alert(1)</script>", "\" onload='alert(1)' &amp;", "😀🇩🇪", "עברית \u202e العربية",
    "two\nlines", "</style></svg>]]>", "{{ 7 * 7 }}{% raw %}",
]  # fmt: skip


def render(logits: Any, targets: Any, names: list[str], texts: Any = None) -> str:
    texts = [(f"text {row}",) for row in range(len(targets))] if texts is None else texts
    return render_html_report(
        report_of(logits, targets, names), logits, targets, texts, names=names
    )


class Page(HTMLParser):
    """Text, rows of tables, elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """Cells of the first row with this heading."""
        return next([" ".join(c.split()) for c in row] for row in self.rows if row[:1] == [name])


def test_numbers_are_those_of_the_report() -> None:
    logits, targets = made()
    report = report_of(logits, targets, NAMES)
    page = Page(render(logits, targets, NAMES))
    metrics = report.metrics
    cells = page.row(MODEL_ROW)
    assert [cell.split()[0] for cell in cells[1:3]] == [
        f"{metrics[key]:.3f}" for key in ("f1_micro", "f1_macro")
    ]
    low, high = map(float, cells[1].split()[1].split("\u2013"))
    assert low < metrics["f1_micro"] < high
    assert page.row("most frequent label set")[6] == "-"  # it has no ranking
    assert page.row("F1 micro")[1::2] == [f"{metrics['f1_micro']:.4f}", "0.9877"]
    for each in report.label_scores:
        expected = [f"{x:.3f}" for x in (each.precision, each.recall, each.f1)]
        ap = "-" if each.average_precision is None else f"{each.average_precision:.3f}"
        count = report.profile.splits["train"].label_counts[each.label]
        assert page.row(each.label) == [
            each.label, *expected, ap, str(each.support), str(each.predicted), str(count),
        ]  # fmt: skip
    assert page.row("test") == ["test", "60", "1.25", "0.250", "3", "12.5 %"]
    for word in ("1,234", "31337", *report.versions.values()):
        assert word in page.text
    assert "/some/where" not in page.text


def test_strings_stay_text() -> None:
    logits, targets = made(labels=len(HOSTILE))
    texts = [(text, text) for text in HOSTILE * 10][: len(targets)]
    logits = -logits  # mistakes everywhere
    page = Page(render(logits, targets, HOSTILE, texts))
    assert not {"script", "iframe", "img", "object", "foreignobject"} & page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [value for name, value in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(value.startswith(("#", "data:,")) for value in addresses)
    for string in HOSTILE:
        assert string in page.text
    assert "a <b> model" in page.text


def test_mistakes_are_the_rows_with_the_largest_loss() -> None:
    logits, targets = made()
    targets[0] = logits[0] > 0  # no mistake, but a loss
    logits[0, targets[0] == 0] = -1e-3
    page = render(logits, targets, NAMES)

    def loss(row: int) -> float:
        terms = [
            sum(math.exp(-s) for s, t in zip(logits[row], targets[row], strict=True) if t),
            sum(math.exp(s) for s, t in zip(logits[row], targets[row], strict=True) if not t),
        ]
        return sum(math.log(1 + term) for term in terms)

    wrong = [row for row in range(60) if ((logits[row] > 0) != (targets[row] > 0)).any()]
    expected = sorted(wrong, key=lambda row: -loss(row))[:10]
    found = re.findall(r"Test row (\d+), loss ([\d.]+)", page)
    assert [int(row) - 1 for row, _ in found] == expected
    assert float(found[0][1]) == pytest.approx(loss(expected[0]), abs=0.006)
    first = page[page.index("<article>") : page.index("</article>")]
    marks = re.findall(r"(right|wrong|missed): <bdi>([^<]*)</bdi> ([\d.]+)", first)
    names = {
        mark: {NAMES[i] for i in range(5) if told[i]}
        for mark, told in {
            "right": (logits[expected[0]] > 0) & (targets[expected[0]] > 0),
            "wrong": (logits[expected[0]] > 0) & (targets[expected[0]] == 0),
            "missed": (logits[expected[0]] <= 0) & (targets[expected[0]] > 0),
        }.items()
    }
    for mark, expected_names in names.items():
        assert {name for kind, name, _ in marks if kind == mark} == expected_names
    for _, name, score in marks:
        logit = logits[expected[0], NAMES.index(name)]
        assert float(score) == pytest.approx(1 / (1 + math.exp(-2 * logit)), abs=6e-4)


def test_a_perfect_model() -> None:
    _, targets = made()
    page = render(20 * targets - 10, targets, NAMES)
    assert "Every decision about the test texts is right." in page
    assert "predicted as often as they are true" in page


def test_long_texts_open_and_end() -> None:
    logits, targets = made(rows=3)
    words = " ".join(f"word{index}" for index in range(20_000))
    page = render(-logits, targets, NAMES, [(words,), ("x" * 500,), ("short",)])
    assert "word30 " in page
    assert words[:MAX_TEXT_LENGTH].split()[-2] in page
    assert "word19999" not in page
    assert f"the rest, of {len(words):,} characters" in page
    heads = re.findall(r'<div class="text" dir="auto">([^<]*)<', page)
    assert sorted(len(head) for head in heads)[-1] == 400  # the text without a space
    assert all(head.endswith(" ") for head in heads if head.startswith("word"))


@pytest.mark.parametrize(
    "kind",
    ["no positives", "one positive", "nothing known", "unknown", "powerset", "infinite",
     "two labels", "soft", "one row"],
)  # fmt: skip
def test_unusual_runs(kind: str) -> None:
    logits, targets = made()
    names = NAMES
    if kind in ("no positives", "one positive"):
        targets[:] = 0
        targets[7, 1] = kind == "one positive"
    if kind == "nothing known":
        targets[:] = np.nan
    if kind == "unknown":
        targets[:10], targets[10:20, 0], targets[:, 2] = np.nan, -100, np.nan
    if kind == "powerset":
        logits *= 1e4
    if kind == "infinite":
        logits[:, 0], logits[:5, 1] = -np.inf, np.inf
    if kind == "two labels":
        logits, targets, names = logits[:, :2], targets[:, :2], NAMES[:2]
    if kind == "soft":
        targets = np.clip(targets - 0.3, 0, 1)
    if kind == "one row":
        logits, targets = logits[:1], targets[:1]
    page = Page(render(logits, targets, names))
    assert "nan" not in page.text.lower()
    if kind in ("no positives", "nothing known"):
        assert "No text of the test split has a label" in page.text


def test_many_labels_are_cut_with_a_word() -> None:
    logits, targets = made(rows=200, labels=1000)
    names = [f"label number {index}" for index in range(1000)]
    page = render(logits, targets, names, [("word " * 20_000,)] * 200)
    assert len(page.encode()) < 1_000_000
    assert len(re.findall('<tr><th scope="row"><bdi>label number', page)) == MAX_LABELS
    assert "900 rarer labels are left out" in page


def test_moved_thresholds_have_the_metrics_of_their_decisions() -> None:
    logits, targets = made()
    targets[:5, 0], targets[5:9, 1] = np.nan, -100
    logits[:8] = np.round(logits[:8])  # on the offsets themselves
    known = ~(np.isnan(targets) | (targets == -100))
    found = compute_moved_metrics(logits, known & (targets >= 0.5), known)
    for place, offset in enumerate(OFFSETS):
        expected = compute_decision_metrics(logits > offset, targets)
        for name, values in found.items():
            assert values[place] == pytest.approx(expected[name]), (name, offset)
    assert OFFSETS[30] == 0


def test_reliability_has_the_error_of_the_metrics() -> None:
    logits, targets = made(rows=400)
    known = np.random.default_rng(3).random(targets.shape) < 0.9
    chart = draw_reliability(logits, targets, known)
    dots = re.findall(r"([\d,]+) decisions: mean score ([\d.]+), true ([\d.]+)", chart)
    sizes, said, true = (
        np.array([float(dot[i].replace(",", "")) for dot in dots]) for i in range(3)
    )
    assert sizes.sum() == known.sum()
    expected = compute_multi_label_metrics(logits, np.where(known, targets, np.nan))["ece"]
    assert np.sum(sizes * abs(said - true)) / known.sum() == pytest.approx(expected, abs=1e-3)


def test_curves_have_the_precision_at_each_recall() -> None:
    logits, targets = made(rows=200)
    present = targets >= 0.5
    report = report_of(logits, targets, NAMES)
    chart = draw_precision_recall(report, logits, present, np.ones_like(present))
    path = re.search(r'class="line line0" d="M([^"]*)"', chart)
    assert path
    scores, truth = logits.ravel(), present.ravel()
    places = [tuple(map(float, pair.split())) for pair in path[1].split("L")]
    for x, y in places[::10]:
        recall, precision = round((x - 44) / 340, 2), (260 - y) / 200
        # The highest threshold that reaches this recall.
        cut = next(s for s in sorted(scores, reverse=True)
                   if truth[scores >= s].sum() >= (recall - 1e-9) * truth.sum())  # fmt: skip
        assert precision == pytest.approx(truth[scores >= cut].mean(), abs=2e-3)
    order = sorted((s.average_precision, s.label) for s in report.label_scores if s.support)
    for (ap, label), kind in zip([order[-1], order[len(order) // 2], order[0]],
                                 ("best", "middle", "worst"), strict=True):  # fmt: skip
        assert f"AP {ap:.3f} {kind}: {label}" in chart
    two = draw_precision_recall(
        report_of(logits[:, 3:], targets[:, 3:], NAMES[3:]), logits[:, 3:], present[:, 3:],
        np.ones((200, 2), dtype=bool),
    )  # fmt: skip
    assert two.count("grey, at zero") == 1  # the only label that the rows have


def test_pairs_are_counted() -> None:
    present = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=bool)
    predicted = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]], dtype=bool)
    assert find_gaps(NAMES[:4], present, predicted) == [
        ("red", "green", 2, 1),
        ("red", "blue", 1, 0),
    ]
    truth, said = draw_pairs(NAMES[:4], present, predicted)
    assert "green in 2 of 4 texts with red" in truth
    assert "red in 2 of 2 texts with green" in truth
    assert "green in 1 of 3 texts with red" in said
    assert "grey" not in truth  # no row has it
    assert draw_pairs(NAMES[:4], present & False, predicted) == []


def test_written_whole(tmp_path: Path) -> None:
    logits, targets = made()
    report = report_of(logits, targets, NAMES)
    texts = [("😀",)] * len(targets)
    save_html_report(tmp_path / "report.html", report, logits, targets, texts, names=NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == render_html_report(report, logits, targets, texts, names=NAMES)


@requires_browser
@pytest.mark.parametrize("kind", ["hostile", "long"])
def test_page_on_a_phone(kind: str, tmp_path: Path) -> None:
    names = HOSTILE if kind == "hostile" else [c * 120 for c in "abcdefghijklmnopqrstuvwxyz"]
    logits, targets = made(labels=len(names))
    texts = [(text * 40,) for text in (HOSTILE if kind == "hostile" else ["x" * 200])]
    path = tmp_path / "report.html"
    path.write_text(render(-logits, targets, names, texts * 60), encoding="utf-8")
    messages, requests = [], []
    with open_browser() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 390, "height": 844},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("dialog", lambda dialog: messages.append(dialog.message))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.evaluate("document.querySelectorAll('svg').length") >= 4
    assert not messages
    assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}
