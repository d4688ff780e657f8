"""A model from label names and descriptions: its threshold, its decisions elsewhere, its errors."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

from zlpr_hf import Classifier, InputError
from zlpr_hf.cli.main import main
from zlpr_hf.cli.start import read_descriptions
from zlpr_hf.workflows.zero_shot import start_model

WORDS = ("red", "green", "blue", "sky", "sea", "cat", "dog", "fish")
TEXTS = [(f"{first} {second} {third}",) for first in WORDS for second in WORDS for third in WORDS]
LABELS = {"red": "red", "animal": "cat dog fish", "water": "sea"}


@pytest.mark.parametrize("expected", [0.5, 1.0, 2.0])
def test_texts_get_the_expected_number_of_labels(
    expected: float, encoder_dir: Path, tmp_path: Path
) -> None:
    found = start_model(
        LABELS, TEXTS, tmp_path / "m", model_name_or_path=str(encoder_dir), labels_per_text=expected
    )
    assert found.labels_per_text == pytest.approx(expected, abs=0.01)
    model = Classifier.load(tmp_path / "m")
    logits = model.compute_logits(TEXTS)
    assert (logits > 0).sum() == pytest.approx(expected * len(TEXTS), abs=3)
    counts = (logits > 0).sum(0).tolist()
    assert counts == pytest.approx(list(found.predicted.values()), abs=1)
    stock = pipeline("text-classification", str(tmp_path / "m"), top_k=None)
    answers = stock([text for (text,) in TEXTS[:50]])
    decided = [{each["label"] for each in row if each["score"] > 0.5} for row in answers]
    names = np.array(model.label_space.names)
    assert decided == [set(names[row > 0]) for row in logits[:50]]


def test_texts_longer_than_the_encoder_reads_are_cut(encoder_dir: Path, tmp_path: Path) -> None:
    texts = [(f"{text} " * 40,) for (text,) in TEXTS[:40]]
    found = start_model(LABELS, texts, tmp_path / "m", model_name_or_path=str(encoder_dir))
    assert Classifier.load(tmp_path / "m").compute_logits(texts).shape == (found.texts, 3)


@pytest.mark.parametrize(
    ("texts", "labels_per_text", "message"),
    [
        (TEXTS[:5] * 9, 1.0, "different texts"),
        (TEXTS, 3.0, "labels_per_text"),
        (TEXTS, 0.0, "than 0"),
    ],
)
def test_too_few_texts_and_wrong_numbers_are_refused(
    texts: list[tuple[str, ...]],
    labels_per_text: float,
    message: str,
    encoder_dir: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=message):
        start_model(
            LABELS,
            texts,
            tmp_path / "m",
            model_name_or_path=str(encoder_dir),
            labels_per_text=labels_per_text,
        )
    assert not (tmp_path / "m").exists()


def test_labels_are_read_with_and_without_descriptions(tmp_path: Path) -> None:
    described, names = tmp_path / "labels.yaml", tmp_path / "labels.txt"
    described.write_text("price: too expensive\nservice:\n")
    names.write_text("price\nservice\n")
    assert read_descriptions(described) == {"price": "too expensive", "service": "service"}
    assert read_descriptions(names) == {"price": "price", "service": "service"}
    for content in ("price: [1]\nservice: x\n", "price: x\n"):
        described.write_text(content)
        with pytest.raises(InputError, match=r"labels\.yaml"):
            read_descriptions(described)


def test_tables_are_refused_and_two_spellings_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, names = tmp_path / "labels.csv", tmp_path / "labels.txt"
    table.write_text("label,description\nprice,too expensive\nservice,\n")
    with pytest.raises(InputError, match="expected a yaml file .* got a table"):
        read_descriptions(table)
    names.write_text("price\nPrice\n")
    read_descriptions(names)
    assert "'price' and 'Price' are two labels" in caplog.text


def test_later_commands_know_the_text_column(
    encoder_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, texts = tmp_path / "labels.txt", tmp_path / "my texts.csv"
    labels.write_text("red; dark\nsea\n")
    lines = [f"{number},the text says {text}\n" for number, (text,) in enumerate(TEXTS[:80])]
    texts.write_text("".join(["id,comment\n", *lines]))
    model = tmp_path / "m"
    argv = ["start", str(labels), str(texts), f"--output_dir={model}"]
    assert main([*argv, f"--model_name_or_path={encoder_dir}"]) == 0
    command = capsys.readouterr().out.splitlines()[-1].partition("zlpr ")[2]
    output = ["--output_file", str(tmp_path / "next.csv")]
    assert main([*shlex.split(command), *output]) == 2
    assert "';' is in the label 'red; dark'; use '|'" in capsys.readouterr().err
    assert main([*shlex.split(command), *output, "--label_delimiter", "|"]) == 0
    assert (tmp_path / "next.csv").read_text().startswith("comment,labels,file,line,score\n")


def test_command_writes_a_model_once(
    encoder_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, texts = tmp_path / "labels.txt", tmp_path / "texts.csv"
    labels.write_text("red\nsea\n")
    texts.write_text("text\n" + "".join(f"{text}\n" for (text,) in TEXTS[:80]))
    argv = ["start", str(labels), str(texts), f"--output_dir={tmp_path / 'm'}"]
    assert main([*argv, f"--model_name_or_path={encoder_dir}"]) == 0
    assert "1.00 labels per text" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "m"), "red sea"]) == 0
    assert main([*argv, f"--model_name_or_path={encoder_dir}"]) == 2
    assert "output_dir" in capsys.readouterr().err
