"""Texts without content get no label everywhere, also those without a single token."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors
from transformers import AutoTokenizer

from tests.families import save_family
from tests.runs import check_refused, run
from zlpr_hf import (
    InputError,
    LabelSpace,
    MultiLabelClassificationPipeline,
    Report,
    Thresholds,
    load_model,
    load_pipeline,
)
from zlpr_hf.cli.main import main
from zlpr_hf.data.encoding import MultiLabelCollator
from zlpr_hf.inference.attribution import measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.demo_page import render_answer
from zlpr_hf.models.tokenizer import load_tokenizer

EMPTY = ["", "  \n", "\t"]


def save_decoder(folder: Path, family: str = "gpt2") -> Path:
    """An encoder whose tokenizer adds no token to a text."""
    save_family(family, folder, pad_token=None, eos_token="[SEP]")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = save_decoder(tmp_path_factory.mktemp("encoder"))
    folder = tmp_path_factory.mktemp("decoder")
    load_model(str(encoder), LabelSpace(("red", "green", "blue"))).save_pretrained(folder)
    load_tokenizer(str(encoder)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("long_texts", ["max", "mean", "cut"])
def test_empty_texts_have_no_label(folder: Path, long_texts: str) -> None:
    classifier = Classifier.load(folder)
    texts = ["red dog", *EMPTY, "the sea"]
    logits = classifier.compute_logits(texts, long_texts=long_texts, batch_size=2)
    assert not classifier.decide(logits)[1:4].any()
    alone = classifier.compute_logits([texts[0], texts[-1]], long_texts=long_texts)
    np.testing.assert_allclose(logits[[0, -1]], alone, atol=1e-6)
    only = classifier.compute_logits(EMPTY)
    assert classifier.label_sets_of(only, classifier.decide(only)) == [[], [], []]
    pairs = classifier.compute_logits([("", ""), ("red", "")])
    assert not classifier.decide(pairs)[0].any()
    assert np.isfinite(logits).all()


def test_pipeline_gives_no_label(folder: Path) -> None:
    loaded = Classifier.load(folder)
    classify = MultiLabelClassificationPipeline(model=loaded.model, tokenizer=loaded.tokenizer)
    assert classify(EMPTY) == [[], [], []]
    assert classify("") == []


@pytest.mark.parametrize("options", [[], ["--threshold=0"], ["--min_labels=2"]])
def test_predict_keeps_rows_without_content(
    finished: tuple[Path, Report], tmp_path: Path, options: list[str]
) -> None:
    data, output = tmp_path / "rows.jsonl", tmp_path / "labelled.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("red", *EMPTY)))
    files = ["--input", str(data), "--output", str(output)]
    assert main(["predict", str(finished[0]), *files, *options]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [bool(row["predicted_labels"]) for row in rows] == [True, False, False, False]


def test_texts_without_content_have_no_label_where_a_model_would_give_one(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    """Beside special tokens a bias alone decides, in a saved model and in its export."""
    loaded = Classifier.load(finished[0])
    loaded.save(tmp_path / "eager", Thresholds((-100.0,) * 3))
    eager = Classifier.load(tmp_path / "eager")
    for classifier in (eager, replace(eager, thresholds=Thresholds(min_labels=1))):
        logits = classifier.compute_logits([*EMPTY, "the"])
        assert classifier.decide(logits).tolist() == [[False] * 3] * 3 + [[True] * 3]
        assert not classifier.decide(logits, threshold=0)[:3].any()
        pairs = classifier.compute_logits([(" ", ""), (" ", "the")])
        assert classifier.decide(pairs).any(1).tolist() == [False, True]
    assert not classifier.compute_top_k(EMPTY, 2).logits.max() > 0
    assert load_pipeline(tmp_path / "eager")(["", "the"])[0] == []
    assert load_pipeline(tmp_path / "eager")("") == []


def test_measured_rows_without_content_have_no_label(command: list[str], tmp_path: Path) -> None:
    """The table of a run counts them as zlpr predict and zlpr evaluate do."""
    rows = [{"text": "red", "labels": ["red"]}, {"text": "sea", "labels": ["blue"]}]
    for name, texts in (("train", ["red", "sea"]), ("test", ["  ", ""])):
        data = [rows[n % 2] | {"text": texts[n % 2]} for n in range(40)]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in data))
    files = [f"--{name}_file={tmp_path}/{name}.jsonl" for name in ("train", "test")]
    files.append(f"--validation_file={tmp_path}/test.jsonl")
    report = run(command, tmp_path / "out", *files, "--max_steps=2", "--join_rows=false")
    assert report.metrics["predicted_cardinality"] == 0
    assert report.metrics["brier"] == 0.5  # every score is 0, one target in two is 1


def test_demo_page_shows_no_label(folder: Path) -> None:
    classifier = Classifier.load(folder)
    logits = classifier.compute_logits([""])
    assert "red" in render_answer(classifier, "", logits)
    with pytest.raises(InputError, match="nothing is left of the text"):
        measure_words(classifier, "red")


@pytest.mark.parametrize("streaming", [False, True])
def test_training_names_the_empty_text(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], streaming: bool
) -> None:
    encoder = save_decoder(tmp_path / "encoder")
    if streaming:
        collator = MultiLabelCollator(load_tokenizer(str(encoder)), 3)
        with pytest.raises(InputError, match="the text has no tokens"):
            collator([{"text": "red"}, {"text": ""}])
        return
    data = tmp_path / "rows.jsonl"
    rows = [{"text": f"red {n}", "labels": ["a" if n % 2 else "b"]} for n in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**rows[0], "text": ""}]))
    argv = [*command, f"--model_name_or_path={encoder}", f"--train_file={data}", "--pooling=first"]
    check_refused(argv, tmp_path / "out", "the text has no tokens", capsys)
