"""report.html: numbers of the report, escaped strings, and the page in Chromium."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import open_browser, requires_browser
from tests.reports.builders import NAMES, make_logits, make_report
from zlpr_hf.reports.disagreements import EvaluatedSplit
from zlpr_hf.reports.html import MAX_LABELS, MAX_TEXT_LENGTH, render_html_report
from zlpr_hf.reports.report import MODEL_ROW

HOSTILE = [
    "<script>alert(1)</script>", "\" onload='alert(1)' &amp;", "😀🇩🇪", "עברית \u202e العربية",
    "two\nlines", "</style></svg>]]>", "{{ 7 * 7 }}{% raw %}",
]  # fmt: skip


def render(logits: Any, targets: Any, names: list[str], texts: Any = None) -> str:
    texts = [(f"text {row}",) for row in range(len(targets))] if texts is None else texts
    return render_html_report(
        make_report(names, logits, targets), {"test": split(logits, targets, texts)}, names=names
    )


def split(logits: Any, targets: Any, texts: Any) -> EvaluatedSplit:
    return EvaluatedSplit(
        logits, logits > 0, targets, texts, [f"d.csv:{row + 2}" for row in range(len(texts))]
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


def test_page_shows_the_numbers_of_the_report() -> None:
    logits, targets = make_logits()
    report = make_report(NAMES, logits, targets)
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
    assert "/srv/secret" not in page.text


def test_labels_are_sorted_by_f1_and_few_texts_are_flagged() -> None:
    logits, targets = make_logits()
    targets[3:, 3] = 0
    targets[:3, 3] = 1
    page = Page(render(logits, targets, NAMES))
    table = [row for row in page.rows if row and row[0] in NAMES and len(row) == 8]
    values = [float(row[3].split()[0]) for row in table]
    assert values[:-1] == sorted(values[:-1])
    assert table[-1][0] == "never there"
    assert {row[0] for row in table if "3 texts" in row[3]} == {"grey"}


def test_details_name_texts_and_confused_labels() -> None:
    logits, targets = make_logits(rows=40, labels=3)
    logits, names = 8 * (targets - 0.5) + 0.01 * logits, NAMES[:3]
    targets[:2] = [[1, 0, 0]]
    logits[:2] = [[-4, 3, -4], [-5, 3, -4]]
    page = render(logits, targets, names)
    details = dict(
        re.findall(r'<details class="label">.*?<bdi>(.*?)</bdi>(.*?)</details>', page, re.DOTALL)
    )
    assert set(details) == {"red", "green"}
    assert "<bdi>green</bdi> (in 2 texts)" in details["red"]
    assert re.findall(r"d\.csv:(\d+)", details["red"]) == ["3", "2"]  # the lowest score first
    assert "text 1" in details["green"]


def test_strings_are_escaped() -> None:
    logits, targets = make_logits(labels=len(HOSTILE))
    texts = [(text, text) for text in HOSTILE * 10][: len(targets)]
    logits = -logits  # mistakes everywhere
    report = replace(make_report(HOSTILE, logits, targets), output_dir="out/a <b> model")
    page = Page(render_html_report(report, {"test": split(logits, targets, texts)}, names=HOSTILE))
    assert not {"script", "iframe", "img", "object", "foreignobject"} & page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [value for name, value in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(value.startswith(("#", "data:,")) for value in addresses)
    for string in HOSTILE:
        assert string in page.text
    assert "a <b> model" in page.text


def test_mistakes_are_the_rows_with_the_largest_loss() -> None:
    logits, targets = make_logits()
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
    found = re.findall(r"d\.csv:(\d+), loss ([\d.]+)", page)
    assert [int(line) - 2 for line, _ in found] == expected
    assert float(found[0][1]) == pytest.approx(loss(expected[0]), abs=0.006)
    first = page[page.index("<article>") : page.index("</article>")]
    marks = re.findall(r'<li class="(\w+)">[^<]*<bdi>([^<]*)</bdi> ([\d.]+)', first)
    names = {
        mark: {NAMES[i] for i in range(5) if told[i]}
        for mark, told in {
            "agreed": (logits[expected[0]] > 0) & (targets[expected[0]] > 0),
            "untagged": (logits[expected[0]] > 0) & (targets[expected[0]] == 0),
            "doubted": (logits[expected[0]] <= 0) & (targets[expected[0]] > 0),
        }.items()
    }
    for mark, expected_names in names.items():
        assert {name for kind, name, _ in marks if kind == mark} == expected_names
    for _, name, score in marks:
        logit = logits[expected[0], NAMES.index(name)]
        assert float(score) == pytest.approx(1 / (1 + math.exp(-logit)), abs=6e-4)


def test_perfect_model_has_no_mistakes() -> None:
    _, targets = make_logits()
    page = render(20 * targets - 10, targets, NAMES)
    assert "<article>" not in page
    assert 'id="pairs"' not in page


def test_long_texts_are_folded_and_cut() -> None:
    logits, targets = make_logits(rows=3)
    words = " ".join(f"word{index}" for index in range(20_000))
    page = render(-logits, targets, NAMES, [(words,), ("x" * 500,), ("short",)])
    assert "word30 " in page
    assert words[:MAX_TEXT_LENGTH].split()[-2] in page
    assert "word19999" not in page
    assert f"{len(words):,} characters</summary>" in page
    heads = re.findall(r'<div class="text" dir="auto">([^<]*)<', page)
    assert sorted(len(head) for head in heads)[-1] == 401  # the text without a space
    assert all(head.endswith(" …") for head in heads if head.startswith("word"))


@pytest.mark.parametrize(
    "kind",
    ["no positives", "one positive", "nothing known", "unknown", "powerset", "infinite",
     "two labels", "soft", "one row"],
)  # fmt: skip
def test_unusual_run_has_a_page(kind: str) -> None:
    logits, targets = make_logits()
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
    if kind == "nothing known":
        assert "decisions on the test split are right" not in page.text
        assert "Metrics at other thresholds" not in page.text


def test_omitted_labels_are_mentioned() -> None:
    logits, targets = make_logits(rows=200, labels=1000)
    names = [f"label number {index}" for index in range(1000)]
    page = render(logits, targets, names, [("word " * 20_000,)] * 200)
    assert len(page.encode()) < 1_000_000
    assert (
        len(re.findall(r'<tr><th scope="row"><bdi>label number \d+</bdi></th>', page)) == MAX_LABELS
    )
    assert "900 rarer labels" in page


@requires_browser
@pytest.mark.parametrize("kind", ["hostile", "long"])
def test_page_fits_a_phone(kind: str, tmp_path: Path) -> None:
    names = HOSTILE if kind == "hostile" else [c * 120 for c in "abcdefghijklmnopqrstuvwxyz"]
    logits, targets = make_logits(labels=len(names))
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
            assert page.evaluate("document.querySelectorAll('svg').length") == 3
    assert not messages
    assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}
