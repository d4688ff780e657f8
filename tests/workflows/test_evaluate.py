"""zlpr evaluate: numbers of training, other data, tuning, and refused options."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zlpr_hf import compute_multi_label_metrics
from zlpr_hf.cli.main import main
from zlpr_hf.inference import classifier as classifier_module
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.workflows import evaluate as evaluation

ROWS = [
    {"text": "red sky", "labels": ["red"]},
    {"text": "a green fish and a blue bird", "labels": ["green", "blue"]},
    {"text": "the sea", "labels": []},
    {"text": "a blue dog", "labels": ["blue"]},
]


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any]) -> str:
    return str(finished[0])


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def evaluated(path: Path, *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *arguments, "--output", str(path), "--resamples", "50"]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_file_without_a_header_and_how_it_was_read(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.tsv"
    path.write_text("".join(f'"{row["text"]}\t{";".join(row["labels"])}\n' for row in ROWS))
    found = evaluated(
        tmp_path / "e.json", model, "--dataset", str(path), "--column_names", "text", "labels",
        "--quoting", "none", "--label_delimiter", ";", "--missing_labels", "no_label",
    )  # fmt: skip
    assert found["rows"] == len(ROWS)
    printed = capsys.readouterr().out.splitlines()
    assert "names separated by ';' (empty: no label)" in printed[0]
    assert "in the order of the model: blue, green, red" in printed[1]


def test_evaluation_without_a_dataset_repeats_the_numbers_of_training(
    model: str, finished: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(tmp_path / "e.json", model, "--long_texts", "cut")
    expected = finished[1].metrics
    for name, value in expected.items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-6), name
    for name, interval in found["intervals"].items():
        assert interval["low"] <= interval["high"]
        assert name in expected
    assert {"f1_micro", "f1_macro", "subset_accuracy", "lrap"} <= set(found["intervals"])
    printed = capsys.readouterr().out
    assert f"{expected['f1_micro']:.4f}" in printed
    assert [score["label"] for score in found["label_scores"]] == ["blue", "green", "red"]
    validation = evaluated(tmp_path / "v.json", model, "--split=validation", "--long_texts=cut")
    assert validation["metrics"]["f1_micro"] == pytest.approx(
        finished[1].validation["f1_micro"], abs=1e-6
    )


def test_dataset_in_any_form_gives_the_same_numbers(model: str, data: str, tmp_path: Path) -> None:
    classifier = Classifier.load(model)
    names = classifier.label_space.names
    logits = classifier.compute_logits([(str(row["text"]),) for row in ROWS])
    targets = [[float(name in row["labels"]) for name in names] for row in ROWS]
    expected = compute_multi_label_metrics(logits, targets)
    found = evaluated(tmp_path / "e.json", model, "--dataset", data)
    assert found["metrics"] == pytest.approx(expected)
    multi_hot = tmp_path / "hot.jsonl"
    multi_hot.write_text(
        "".join(
            json.dumps({"body": row["text"], "labels": flags}) + "\n"
            for row, flags in zip(ROWS, targets, strict=True)
        )
    )
    options = ["--dataset", str(multi_hot), "--text_column", "body", "--label_form", "multi_hot"]
    assert evaluated(tmp_path / "h.json", model, *options)["metrics"] == found["metrics"]
    delimited = tmp_path / "d.csv"
    lines = [f"{row['text']},{'|'.join(row['labels'])}" for row in ROWS]
    delimited.write_text("\n".join(["text,labels", *lines]) + "\n")
    options = ["--dataset", str(delimited), "--label_delimiter", "|"]
    options += ["--missing_labels", "no_label"]
    assert evaluated(tmp_path / "d.json", model, *options)["metrics"] == found["metrics"]


def test_labels_unknown_to_the_model_are_refused_or_dropped(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "red", "labels": ["red", "pink"]}\n')
    assert main(["evaluate", model, "--dataset", str(path)]) == 2
    assert "row 1: label 'pink' is not a label of the model" in capsys.readouterr().err
    assert main(["evaluate", model, "--dataset", str(path), "--unseen_labels", "drop"]) == 0
    assert "dropped label 'pink'" in capsys.readouterr().out


def test_tuned_model_decides_by_the_offsets(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    tuning = ["--tune_thresholds", "per_label", "--threshold_metric", "f1_micro"]
    found = evaluated(
        tmp_path / "e.json", model, "--split", "validation", *tuning,
        "--tuned_model", str(folder),
    )  # fmt: skip
    offsets = found["thresholds"]["offsets"]
    assert set(found["tuned"]) == set(found["metrics"])
    texts = [(str(row["text"]),) for row in ROWS]
    plain = Classifier.load(model).compute_logits(texts)
    tuned = Classifier.load(str(folder)).compute_logits(texts)
    np.testing.assert_allclose(tuned, (plain - np.array(offsets)) / found["temperature"], atol=1e-5)
    config = json.loads((folder / "config.json").read_text())
    assert "thresholds" not in config["zlpr"]
    assert "calibration" not in config["zlpr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "none.csv"], "none.csv"),
        (["--split", "dev"], "--split: expected train, validation or test, got dev"),
        (["--resamples", "0"], "--resamples: expected a whole number of at least 1"),
        (["--output", "none/e.json"], "none: no such folder (--output)"),
        (["--tuned_model", "t"], "--tuned_model needs --tune_thresholds"),
        (
            ["--tune_thresholds", "per_label", "--threshold_metric", "f1_samples"],
            "for per_label expected f1_micro or f1_macro, got f1_samples",
        ),
        (["--tune_thresholds", "global", "--tuned_model", "."], "not an empty folder"),
    ],
)
def test_invalid_option_is_one_line(
    options: list[str],
    message: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    assert main(["evaluate", model, *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_labels_without_a_column_are_unknown(model: str, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("text,red,blue\nred green sky,1,0\nblue green sea,0,1\n")
    columns = ["--label_columns", "red", "blue"]
    found = evaluated(tmp_path / "n.json", model, "--dataset", str(path), *columns)
    assert found["metrics"]["f1_micro"] == 1  # green is neither right nor wrong
    support = {each["label"]: each["support"] for each in found["label_scores"]}
    assert support == {"red": 1, "green": 0, "blue": 1}


def test_zeros_of_label_columns_count_as_absent(model: str, tmp_path: Path) -> None:
    """A label whose column says 0 is absent: predicting it is a mistake."""
    path = tmp_path / "zeros.csv"
    path.write_text("text,red,blue\nred sky,0,0\nblue sea,0,1\n")
    columns = ["--label_columns", "red", "blue"]
    found = evaluated(tmp_path / "n.json", model, "--dataset", str(path), *columns)
    assert found["metrics"]["f1_micro"] == pytest.approx(2 / 3)  # blue is right, red is wrong


def test_columns_that_are_not_used_may_hold_anything(model: str, tmp_path: Path) -> None:
    """As in training, which would else read files that zlpr evaluate refuses."""
    rows = [{"text": "red sky", "labels": ["red"], "meta": meta} for meta in (1, "q", [2], None)]
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["evaluate", model, f"--dataset={path}", "--join_rows=true", "--resamples=10"]
    assert main(argv) == 0


def test_missing_file_is_not_searched_on_the_hub(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", model, "--dataset", "nowhere.csv"]) == 2
    assert capsys.readouterr().err.endswith("error: nowhere.csv: no such file\n")


def test_large_label_space_is_evaluated_by_its_best_labels(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    dense = evaluated(tmp_path / "dense.json", model, "--dataset", data)
    monkeypatch.setattr(evaluation, "MAX_DENSE_LABELS", 2)
    monkeypatch.setattr(classifier_module, "MAX_BATCH_CELLS", 1)
    options = ["--dataset", data, "--batch_size", "7"]
    best = evaluated(tmp_path / "best.json", model, *options)
    assert "recall_at_k" in best["metrics"]
    shared = set(best["metrics"]) & set(dense["metrics"])
    assert {"f1_micro", "f1_macro", "subset_accuracy"} < shared
    for name in shared:
        assert best["metrics"][name] == pytest.approx(dense["metrics"][name]), name
    assert main(["evaluate", model, *options, "--tune_thresholds", "global"]) == 2
    assert "not supported in a large label space" in capsys.readouterr().err
    some = tmp_path / "some.csv"
    some.write_text("text,red\nred sky,1\n")
    columns = ["--dataset", str(some), "--label_columns", "red"]
    assert main(["evaluate", model, *columns]) == 2
    assert "labels are unknown" in capsys.readouterr().err
