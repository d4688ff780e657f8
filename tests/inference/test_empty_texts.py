"""Texts without a single token, which only decoders have, get no label everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors
from transformers import AutoTokenizer

from tests.families import save_family
from tests.runs import check_refused
from zlpr_hf import InputError, LabelSpace, MultiLabelClassificationPipeline, load_model
from zlpr_hf.cli.main import main
from zlpr_hf.data.encoding import MultiLabelCollator
from zlpr_hf.inference.attribution import measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.demo_page import render_answer
from zlpr_hf.models.loading import load_tokenizer

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


def test_predict_sets_empty_rows_aside(folder: Path, tmp_path: Path) -> None:
    data, output = tmp_path / "rows.jsonl", tmp_path / "labelled.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("red", *EMPTY)))
    assert main(["predict", str(folder), "--input", str(data), "--output", str(output)]) == 0
    bad = (tmp_path / "labelled.jsonl.bad.jsonl").read_text().splitlines()
    assert (len(output.read_text().splitlines()), len(bad)) == (1, 3)


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
