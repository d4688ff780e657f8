"""Hostile strings stay text in every page, card and chart."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from tests.reports.builders import FACTS, make_logits, make_report, random_report
from zlpr_hf import Classifier
from zlpr_hf.data.row_reader import BadRow
from zlpr_hf.inference.attribution import WordEffects
from zlpr_hf.inference.demo_file import LabelledFile
from zlpr_hf.inference.demo_page import _render, render_answer, render_file, render_words
from zlpr_hf.inference.row_writer import LABELS, SCORES
from zlpr_hf.metrics.multi_label import compute_label_scores
from zlpr_hf.reports.card_examples import CardExample
from zlpr_hf.reports.disagreements import EvaluatedSplit, find_disagreements
from zlpr_hf.reports.html import render_html_report
from zlpr_hf.reports.model_card import render_model_card, write_model_card
from zlpr_hf.reports.svg import Dot, Line, Plot, render_chart

HOSTILE = [
    '"><script>alert(1)</script><img src=x onerror=1>{{1234*5678}}',
    "'><svg/onload=alert(1)>${1234*5678}{% raw %}",
    "]]></style></title></textarea></details><iframe src=javascript:alert(1)>",
    "<!-- <b onmouseover=alert(1)>\u202e\u0000&lt;script&gt;",
    '--- \n---\n"yes": !!python/object/apply:os.abort [] |',
    "[x](javascript:alert(1)) ![y](http://e.vil/i.png) `c` $z$ <http://e.vil> | cell",
]


class Outline(HTMLParser):
    """Elements with their attribute names, addresses, and all text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment",))


def report(string: str) -> str:
    """The report with the string wherever one of the user's strings appears."""
    logits, targets = make_logits(rows=20)
    names = ["red", "green", "blue", string, "never there"]
    found = make_report(names, logits, targets)
    found = replace(
        found,
        output_dir=string.replace("/", "|"),
        warnings=[string],
        profile=replace(found.profile, dropped_labels={string: 3}),
    )
    texts = [(string, string)] * len(targets)
    split = EvaluatedSplit(-logits, -logits > 0, targets, texts, [string] * len(texts))
    scores = compute_label_scores(logits, targets, names)  # better than those of -logits
    found = replace(found, disagreements=find_disagreements({"test": split}, scores))
    return render_html_report(found, {"test": split}, names=names)


def card_with(place: str) -> Callable[[str], str]:
    def render(string: str) -> str:
        names = ["red", string if place == "label" else "green"]
        facts = replace(FACTS, base_model="a local model", dataset="rows.csv")
        if place in ("name", "base_model", "dataset"):
            facts = replace(facts, **{place: string.replace("/", "|")})
        if place == "example":
            facts = replace(facts, examples=(CardExample(string, [(string, 0.5)]),))
        _, front, text = render_model_card(random_report(names), facts).split("---\n", 2)
        assert set(yaml.safe_load(front)) <= {
            "tags", "pipeline_tag", "library_name", "metrics", "model-index", "widget",
        }  # fmt: skip
        return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))

    return render


def answer_with(classifier: Classifier) -> Callable[[str], str]:
    def render(string: str) -> str:
        space = replace(classifier.label_space, names=("red", string, "blue"))
        hostile = replace(classifier, label_space=space)
        both = [[1.0, 2.0, -1.0], [-1.0, -0.5, -2.0]]
        return "".join(
            render_answer(hostile, "red", np.array([row], np.float32)) for row in both
        )  # fmt: skip

    return render


RENDERERS: dict[str, Callable[[str], str]] = {
    "report": report,
    **{
        f"card: {place}": card_with(place)
        for place in ("label", "name", "base_model", "dataset", "example")
    },
    "bars": lambda string: render_chart("bars", string, [(string, 0.5), (string * 9, 1.0)]),
    "lines": lambda string: render_chart(
"lines",         Plot(
            string, string, [Line(string, [(0, 0), (1, 1)], [Dot(0.5, 0.5, 3, string)])],
            string, string,
        )
    ),
    "demo: head": lambda string: _render("head", string, ["red", string], 3, most=2, least=1),
    "demo: file": lambda string: render_file(
        LabelledFile(
            [string], string, [{string: string, LABELS: [string], SCORES: [0.5]}],
            [BadRow(1, string, [string])], True, Path("labels.csv"),
        )
    ),
    "demo: words": lambda string: render_words(
        WordEffects(string, 1.0, ((string, 0.5), (" ", None), (string, None)), 2)
    ),
}  # fmt: skip


def check(render: Callable[[str], str], string: str) -> None:
    """Elements and addresses must equal those for a harmless string of the same length."""
    expected, found = Outline(render(re.sub(r"\S", "(", string))), Outline(render(string))
    assert found.tags == expected.tags
    assert found.addresses == expected.addresses
    assert str(1234 * 5678) not in found.text


@pytest.mark.parametrize("string", HOSTILE)
@pytest.mark.parametrize("name", RENDERERS)
def test_hostile_strings_add_no_element(name: str, string: str) -> None:
    check(RENDERERS[name], string)


@pytest.mark.parametrize("string", HOSTILE)
def test_hostile_labels_add_no_element_to_the_demo_page(
    string: str, finished: tuple[Path, Any]
) -> None:
    check(answer_with(Classifier.load(finished[0])), string)


@pytest.mark.parametrize("string", HOSTILE)
def test_chart_of_the_card_is_well_formed(string: str, tmp_path: Path) -> None:
    report = random_report(["red", string])
    write_model_card(tmp_path, report, FACTS)
    root = ET.parse(tmp_path / "labels.svg").getroot()
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "style", "rect", "text", "title"}
