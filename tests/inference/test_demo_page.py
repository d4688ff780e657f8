"""The demo page: its content, in a browser driven by the keyboard, and as a Space."""

import csv
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from huggingface_hub import metadata_load

from tests.browser import open_browser, requires_browser
from tests.builders import OTHERS
from zlpr_hf import Thresholds, __version__
from zlpr_hf.cli import demo as command
from zlpr_hf.cli.main import main
from zlpr_hf.inference.attribution import WordEffects, measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.demo_page import read_examples, render_answer, render_words
from zlpr_hf.metrics.calibration import Calibration
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.zlpr_config import ZLPRConfig

requires_gradio = pytest.mark.skipif(not find_spec("gradio"), reason="the page needs gradio")

NAMES = ["<script>alert(1)</script>", "{{7*7}} ${alert(2)} & <b>", "red"]
ATTACK = 'red <script>alert(3)</script> <img src=x onerror="alert(4)">'
LONG = "red " + "sky " * 40
EXAMPLES = ["the red bird", ATTACK]
PLAIN = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"})


@pytest.fixture(scope="module")
def folder(finished: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, two of whose labels have code as names, with a card."""
    copy = tmp_path_factory.mktemp("demo") / "colours"
    shutil.copytree(finished[0], copy, ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((copy / "config.json").read_text())
    assert list(config["label2id"]) == ["blue", "green", "red"]
    config["id2label"] = {str(index): name for index, name in enumerate(NAMES)}
    config["label2id"] = {name: index for index, name in enumerate(NAMES)}
    (copy / "config.json").write_text(json.dumps(config))
    card = "".join(f"- text: {json.dumps(text)}\n" for text in EXAMPLES)
    (copy / "README.md").write_text(f"---\nwidget:\n{card}- src: a.png\n- 3\n---\nText\n")
    return copy


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return Classifier.load(str(folder))


class Shown(HTMLParser):
    """Rows of the tables, texts, and all tags of a part of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.rows += [[]] * (tag == "tr")
        if tag in ("th", "td"):
            self.rows[-1] = [*self.rows[-1], ""]

    def handle_data(self, data: str) -> None:
        data = data.translate(PLAIN)
        self.text += data
        if self.tags[-1] in ("th", "td", "span") and self.rows:
            self.rows[-1][-1] += data.strip()

    @property
    def labels(self) -> dict[str, tuple[str, str, str]]:
        """Name to mark, score and word."""
        found = [row for row in self.rows if row[0] != "label"]
        return {row[0][1:]: (row[0][0], row[2], row[3]) for row in found}


def answer_with(classifier: Classifier, logits: list[float], text: str = "red") -> Shown:
    return Shown(render_answer(classifier, text, np.array([logits], np.float32)))


def test_predicted_labels_differ_by_mark_number_and_side(classifier: Classifier) -> None:
    html = render_answer(classifier, "red", np.array([[-0.25, 1e-4, 4.0]], np.float32))
    shown = Shown(html)
    assert shown.labels == {
        "red": ("✓", "0.982", "sure"),
        NAMES[1]: ("✓", "0.500", "borderline"),
        NAMES[0]: ("-", "0.438", "borderline"),
    }
    assert list(shown.labels) == ["red", NAMES[1], NAMES[0]]
    assert "2 labels predicted" in shown.text
    widths = [line.split("--length: ")[1].split("%")[0] for line in html.splitlines()
              if "--length: " in line]  # fmt: skip
    assert widths == ["98.20", "50.00", "43.78"]
    assert re.findall('title="logit ([^"]*)"', html.translate(PLAIN)) == [
        "+4.00", "+0.0001", "-0.25",
    ]  # fmt: skip
    assert set(shown.tags) <= {
        "div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "span", "details",
        "summary",
    }  # fmt: skip


def test_no_predicted_label_is_stated(classifier: Classifier) -> None:
    shown = answer_with(classifier, [-2.0, -1.0, -5.0])
    assert "No label is predicted: none of the 3 scores is above 0.5." in shown.text
    assert f"nearest is {NAMES[1]} (0.269)" in " ".join(shown.text.split())
    assert shown.labels["red"] == ("-", "0.007", "surely not")


def test_threshold_moves_decisions_and_the_line(classifier: Classifier) -> None:
    logits = np.array([[-1.0, 1.0, 4.0]], np.float32)  # scores 0.269, 0.731, 0.982
    marks = {}
    for threshold in (0.2, 0.5, 0.95):
        html = render_answer(classifier, "red", logits, threshold=threshold)
        marks[threshold] = "".join(row[0] for row in Shown(html).labels.values())
        assert html.count(f"--threshold: {100 * threshold:g}%") == 3
    assert marks == {0.2: "✓✓✓", 0.5: "✓✓-", 0.95: "✓--"}


def test_limits_of_the_model_apply(classifier: Classifier) -> None:
    limited = replace(classifier, thresholds=Thresholds(min_labels=1, max_labels=1))
    marks = {name: row[0] for name, row in answer_with(limited, [2.0, 1.0, -5.0]).labels.items()}
    assert marks == {NAMES[0]: "✓", NAMES[1]: "-", "red": "-"}
    assert "1 label predicted" in answer_with(limited, [-2.0, -1.0, -5.0]).text


def test_page_says_how_often_scores_are_right(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Calibration(900, 0.048, 400, 0.131, 266, 0.74, 0.1)
    monkeypatch.setitem(classifier.model.config.zlpr, "calibration", asdict(measured))
    text = " ".join(answer_with(classifier, [1.0, 1.0, 1.0]).text.split())
    assert measured.describe() in text
    monkeypatch.setitem(classifier.model.config.zlpr, "calibration", {"ece": "<b>"})
    assert "not measured" in answer_with(classifier, [1.0, 1.0, 1.0]).text


def test_windows_of_a_long_text_are_mentioned(folder: Path) -> None:
    classifier = Classifier.load(folder)
    short = answer_with(classifier, [1.0, 1.0, 1.0]).text
    assert "windows" not in short
    assert "not read" not in short
    text = " ".join(answer_with(classifier, [1.0, 1.0, 1.0], LONG).text.split())
    assert "longer than 16 tokens; the rest was not read" in text
    ZLPRConfig.update(classifier.model.config, long_texts="mean")
    text = " ".join(answer_with(classifier, [1.0, 1.0, 1.0], LONG).text.split())
    # 41 words, 14 of them in a window beside two special tokens, 4 shared with the next.
    assert "longer than the 16 tokens" in text
    assert "in 4 windows that overlap; the logit of a label is the mean" in text


def test_words_are_escaped_and_shaded_by_effect() -> None:
    pieces = (("<b>", 2.0), (" ", None), ("&", -1.0), (" rest <i>", None))
    html = render_words(WordEffects("<u>", 1.5, pieces, 3))
    shown = Shown(html)
    assert not {"b", "i", "u"} & set(shown.tags)
    text = " ".join(shown.text.split())
    assert "<u>, logit +1.50" in text
    assert "<b>+2.00 &-1.00 rest <i>" in text
    assert "Only the first 2 of 3 words were left out" in text
    assert 'class="word up" style="--share: 1.00"' in html
    assert 'class="word down" style="--share: 0.50"' in html


def test_examples_come_from_the_card(folder: Path, tmp_path: Path) -> None:
    assert read_examples(str(folder)) == EXAMPLES
    assert read_examples(str(tmp_path)) == []
    for card in ("no metadata", "---\nwidget: 3\n---\n", "---\n- a\n---\n", "---\na: [\n---\n"):
        (tmp_path / "README.md").write_text(card)
        assert read_examples(str(tmp_path)) == []


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["demo", *argv]) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert not printed.out
    return lines[0]


def test_missing_gradio_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    message = refused([str(folder), "--port=0"], capsys)
    assert message == 'error: zlpr demo requires gradio: pip install "zlpr_hf[demo]"'


def test_unavailable_port_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        message = refused([str(folder), f"--port={port}"], capsys)
    assert f"--port {port}: Address already in use" in message
    message = refused([str(folder), "--port=70000"], capsys)
    assert message == "error: --port 70000: expected 0 to 65535"


@pytest.fixture
def no_gradio_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a Space needs the version of gradio only."""
    monkeypatch.setattr("zlpr_hf.cli.demo.check_gradio", lambda: None)


def test_infinite_logits_are_shown(classifier: Classifier) -> None:
    logits = np.array([[np.inf, -np.inf, 0.5]], np.float32)
    html = render_answer(classifier, "red", logits).translate(PLAIN)
    assert re.findall('title="logit ([^"]*)"', html) == ["+inf", "+0.50", "-inf"]
    assert Shown(html).labels[NAMES[1]] == ("-", "< 0.001", "surely not")


@requires_gradio
@pytest.mark.usefixtures("no_gradio_needed")
def test_space_has_its_files_and_commands(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "space"
    assert main(["demo", str(folder), f"--save_space={space}"]) == 0
    printed = capsys.readouterr().out
    assert f"zlpr push {folder} YOUR_NAME/colours" in printed
    assert f"hf upload YOUR_NAME/YOUR_PAGE {space} . --type space" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["space"]
    assert sorted(os.listdir(space)) == ["README.md", "app.py", "requirements.txt"]
    metadata = metadata_load(space / "README.md")
    assert metadata == {
        "title": "colours",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": "3.12",
        "app_file": "app.py",
    }
    wanted = (space / "requirements.txt").read_text().split()
    assert wanted == [f"zlpr_hf[demo]=={__version__}", "torch"]
    code = (space / "app.py").read_text()
    assert "YOUR_NAME/colours" in code
    message = refused([str(folder), f"--save_space={space}"], capsys)
    assert message == f"error: --save_space {space}: expected a new or empty folder"
    inside = refused([str(folder), f"--save_space={space / 'app.py' / 'more'}"], capsys)
    assert "Not a directory" in inside
    assert (space / "app.py").read_text() == code


@requires_gradio
@pytest.mark.usefixtures("no_gradio_needed")
def test_space_of_a_hub_model_names_it(tmp_path: Path) -> None:
    command.save_space("me/colours", tmp_path)
    assert metadata_load(tmp_path / "README.md")["models"] == ["me/colours"]


@pytest.mark.usefixtures("no_gradio_needed")
def test_space_of_a_missing_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = refused([str(tmp_path / "nowhere"), f"--save_space={tmp_path / 'space'}"], capsys)
    assert "no such folder" in missing
    assert os.listdir(tmp_path) == []


@requires_gradio
@pytest.mark.usefixtures("no_gradio_needed")
def test_space_runs_the_demo_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command.save_space("me/colours", tmp_path)
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: commands.append([path, *argv]))
    monkeypatch.delenv("MODEL", raising=False)
    runpy.run_path(str(tmp_path / "app.py"))
    monkeypatch.setenv("MODEL", "me/other")
    runpy.run_path(str(tmp_path / "app.py"))
    module = [sys.executable, sys.executable, "-m", "zlpr_hf.cli", "demo"]
    served = ["--host=0.0.0.0", "--port=7860"]  # as Spaces expect
    assert commands == [[*module, name, *served] for name in ("me/colours", "me/other")]


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a page that was started as a user does, and is ended with Ctrl+C."""
    errors = tmp_path_factory.mktemp("errors") / "stderr"
    with errors.open("w") as stderr, subprocess.Popen(
        [sys.executable, "-m", "zlpr_hf.cli", "demo", str(folder), "--port=0"],
        stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=Path(__file__).parents[2],
    ) as server:  # fmt: skip
        try:
            line = server.stdout.readline() if server.stdout else ""
            assert "http://127.0.0.1:" in line, errors.read_text()
            yield line.split(": ")[1].split()[0]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(address: str, browser: Any) -> Iterator[Any]:
    """An open page; afterwards it must not have contacted other hosts or run injected code."""
    page = browser.new_page()
    requests: list[str] = []
    trouble: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda said: said.type == "error" and trouble.append(said.text))
    page.goto(address)
    wait_for_answer(page, EXAMPLES[0])
    yield page
    assert not trouble
    hosts = {urlsplit(url).netloc for url in requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(address).netloc}
    assert page.locator(".zlpr script, .zlpr img, .zlpr b").count() == 0
    page.close()


def wait_for_value(page: Any, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator("textarea")).to_have_value(text)


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus, with a visible outline."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
    style = "(({outlineStyle, outlineWidth}) => [outlineStyle, parseFloat(outlineWidth)])"
    line, width = page.evaluate(f"{style}(getComputedStyle(document.activeElement))")
    assert page.evaluate("selector => document.activeElement.matches(selector)", selector)
    assert line == "solid"
    assert width >= 2


def ask(page: Any, text: str) -> None:
    """Type into the box, which has the focus, and wait for the answer."""
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    wait_for_answer(page, text)


def wait_for_answer(page: Any, text: str) -> None:
    page.locator(".zlpr .asked").get_by_text(text, exact=True).wait_for()


def read_rows(page: Any) -> dict[str, str]:
    """Names of the visible labels with their marks."""
    rows = page.locator(".zlpr tbody th:visible").all_inner_texts()
    return {row[1:].strip(): row[0].translate(PLAIN) for row in rows}


@requires_gradio
@requires_browser
def test_page_works_by_keyboard_alone(page: Any, classifier: Classifier) -> None:
    assert page.title() == "colours"
    ask(page, "red sky")
    logits = classifier.compute_logits([("red sky",)])[0]
    predicted = [name for name, logit in zip(NAMES, logits, strict=True) if logit > 0]
    assert predicted == ["red"]
    assert read_rows(page) == {"red": "✓"}
    score = compute_scores(logits[2])
    shown_score = f"{score:.3f}" if score < 0.9995 else "> 0.999"
    assert shown_score in page.locator(".zlpr tr.predicted").inner_text()
    title = page.locator(".zlpr tr.predicted").get_attribute("title")
    assert title.translate(PLAIN) == f"logit {logits[2]:+.2f}"
    tab_to(page, "summary")
    page.keyboard.press("Enter")
    page.get_by_text(NAMES[0]).first.wait_for()
    assert read_rows(page) == {name: "✓" if name == "red" else "-" for name in NAMES}
    tab_to(page, "input[role=combobox]")
    tab_to(page, "button.zlpr-why")
    page.keyboard.press("Enter")
    page.locator(".word").first.wait_for()
    effects = [each for _, each in measure_words(classifier, "red sky", "red").pieces if each]
    shown = [text.translate(PLAIN).split() for text in page.locator(".word").all_inner_texts()]
    assert shown == [["red", f"{effects[0]:+.2f}"], ["sky", f"{effects[1]:+.2f}"]]


@requires_gradio
@requires_browser
def test_code_is_shown_as_text(page: Any) -> None:
    ask(page, ATTACK)
    tab_to(page, "input[role=combobox]")
    page.get_by_role("option").first.wait_for()
    options = [text.strip() for text in page.get_by_role("option").all_inner_texts()]
    assert sorted(each.removeprefix("✓").strip() for each in options) == sorted(NAMES)
    page.keyboard.press("ArrowUp")
    page.locator("input[aria-activedescendant$='-1']").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("option").first.wait_for(state="detached")
    tab_to(page, "button.zlpr-why")
    page.keyboard.press("Enter")
    page.locator(".word").first.wait_for()
    text = page.locator(".zlpr:has(.words)").inner_text()
    assert f"{NAMES[1]}, logit" in text  # the one before the best, which is red
    words = [text.split()[0] for text in page.locator(".word").all_inner_texts()]
    assert words == ATTACK.split()


@requires_gradio
@requires_browser
def test_button_handles_empty_and_multi_line_texts(page: Any, classifier: Classifier) -> None:
    texts = [f"{first} sea\n{second} big" for first in ("the", "a", "small") for second in OTHERS]
    logits = classifier.compute_logits([(text,) for text in texts]).max(1)
    assert logits.min() < 0
    text = texts[int(logits.argmin())]
    page.keyboard.press("Enter")
    page.get_by_text("There is no text yet").wait_for()
    page.keyboard.press("Shift+Tab")
    tab_to(page, "textarea")
    first, second = text.split("\n")
    page.keyboard.type(first)
    page.keyboard.press("Shift+Enter")
    page.keyboard.type(second)
    wait_for_value(page, text)
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    page.get_by_text("No label is predicted").wait_for()
    assert set(read_rows(page).values()) == {"-"}


@requires_gradio
@requires_browser
@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_classified_when_chosen(page: Any, text: str) -> None:
    button = page.get_by_role("button").filter(has_text=text)
    button.wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if button.evaluate("button => button == document.activeElement"):
            break
    page.keyboard.press("Enter")
    wait_for_value(page, text)
    wait_for_answer(page, text)
    assert read_rows(page)["red"] == "✓"


@requires_gradio
@requires_browser
def test_threshold_slider_decides_again(page: Any, classifier: Classifier) -> None:
    ask(page, "red sky")
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("Home")
    logits = classifier.compute_logits([("red sky",)])
    expected = int(classifier.decide(logits, threshold=0.05).sum())
    page.locator(".zlpr .bar[style='--threshold: 5%']").first.wait_for()
    assert page.locator(".zlpr tr.predicted").count() == expected


@requires_gradio
@requires_browser
def test_file_is_labelled_and_downloaded(page: Any, classifier: Classifier, tmp_path: Path) -> None:
    texts = ["red sky", *(f"row {row} blue sea" for row in range(150)), ATTACK]
    path = tmp_path / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "body"], ["1", ATTACK], ["2", "a", "b"]])
        csv.writer(file).writerows([str(row), text] for row, text in enumerate(texts))
    page.get_by_role("tab", name="A file").click()
    page.locator("input[type=file]").set_input_files(path)
    page.locator("table.file").wait_for()
    assert page.locator("table.file tbody tr").count() == 99  # of 100 rows, one has a cell too many
    assert page.locator("table.file .name").all_inner_texts()[:3] == ["body", ATTACK, "red sky"]
    page.get_by_text("row 2 (line 3: ").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download these rows").click()
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["body"] for row in rows[:2]] == [ATTACK, "red sky"]
    names = classifier.label_sets_of(*decisions(classifier, ["red sky"]))[0]
    found = rows[1]["predicted_labels"].split(";")
    assert found == [each["label"] for each in names] == ["red"]


def decisions(classifier: Classifier, texts: list[str]) -> tuple[Any, Any]:
    logits = classifier.compute_logits(texts)
    return logits, classifier.decide(logits)


@requires_gradio
@requires_browser
def test_wrong_file_is_one_note(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("text\n", encoding="utf-8")
    page.get_by_role("tab", name="A file").click()
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("empty.csv: the file holds no rows").wait_for()
    assert str(tmp_path) not in page.content()
