"""Unusual labels and texts, from training to evaluation: names come back unchanged."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import yaml
from transformers import BertConfig

from tests.runs import run
from zlpr_hf import InputError, LabelSpace, load_pipeline
from zlpr_hf.cli.main import main
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_names import read_label_names
from zlpr_hf.data.sources import read_file

LABELS = [
    "a, b", "two\nlines", "<script>alert(1)</script>", "👍", "Red", "red", "padded", "f1_micro",
    "eval_loss", "labels", "text", "../../etc/passwd", "a/b", "CON", ".", "yes", "1", "nan", "null",
    "x" * 300, "{{ 7 * 7 }}", "a|b", "---", "micro avg",
]  # fmt: skip
TEXTS = [
    "red sky", "a\x00b", "\u202ered\u202c sky", "שלום", "<script>alert(1)</script>", "", " \t ",
    "two\nlines", "cut\rhere", "👩‍👩‍👧", "=1+1", "nan", '"', "sea",
]  # fmt: skip
LONG = 10_000_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hostile(
    encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    """A model trained on all of these labels and texts, and the rows."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {"text": TEXTS[number % len(TEXTS)], "labels": [LABELS[number % len(LABELS)], "Red"]}
        for number in range(5 * len(LABELS))
    ]
    rows = [{**row, "labels": list(dict.fromkeys(row["labels"]))} for row in rows]
    rows[0]["text"] = "x" * LONG
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = [
        f"--model_name_or_path={encoder_dir}", f"--train_file={folder / 'd.jsonl'}",
        "--num_train_epochs=1", "--per_device_train_batch_size=32", "--max_length=16",
        "--bf16=false", "--test_size=0.2", "--validation_size=0.2",
        "--join_rows=false", "--folds=0",
    ]  # fmt: skip
    # Every label is predicted somewhere, so that all names go through every output.
    run(argv, folder / "model", "--tune_thresholds=global")
    return folder, rows


def test_label_names_survive_training_unchanged(hostile: tuple[Path, Any]) -> None:
    folder = hostile[0] / "model"
    assert LabelSpace.from_config(BertConfig.from_pretrained(folder)).names == tuple(sorted(LABELS))
    card = (folder / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert metadata["pipeline_tag"] == "text-classification"
    assert len(card.split("<script>")) == 1
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in report
    assert "&lt;script&gt;alert(1)" in report
    assert {path.name for path in folder.parent.iterdir()} == {"d.jsonl", "model"}


def test_label_names_survive_prediction_and_evaluation(
    hostile: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, rows = hostile
    asked = [row["text"] for row in rows[1 : len(TEXTS)]]
    good = asked  # texts without content have no label and keep their rows
    model = str(folder / "model")
    answers = load_pipeline(model, threshold=0.01)(good)
    wanted = [[each["label"] for each in row] for row in answers]
    assert {name for row in wanted for name in row} <= set(LABELS)
    assert any(wanted)
    table = pyarrow.table({"text": asked})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in [*asked, "x" * LONG])
    (tmp_path / "in.jsonl").write_text(lines + '{"text": "\\ud800"}\n')
    for name, more, bad in (("in.jsonl", ["x" * LONG], 1), ("in.parquet", [], 0)):
        output = tmp_path / f"out{name}"
        argv = ["predict", model, "--input", str(tmp_path / name), "--output", str(output)]
        assert main([*argv, "--threshold=0.01"]) == 0
        found = read_file(output)
        assert found["text"][:] == good + more
        labels = [sorted(row) for row in found["predicted_labels"]]
        assert labels[: len(wanted)] == list(map(sorted, wanted))
        left_out = Path(f"{output}.bad.jsonl")
        assert bad == (len(left_out.read_text().splitlines()) if left_out.exists() else 0)
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    evaluate = ["evaluate", model, "--dataset", str(tmp_path / "gold.jsonl")]
    assert main([*evaluate, "--resamples=100", "--join_rows=false"]) == 0


def test_csv_output_refuses_labels_with_line_breaks(
    hostile: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text\nred\n")
    argv = ["predict", str(hostile[0] / "model"), f"--input={tmp_path / 'in.csv'}"]
    assert main([*argv, f"--output={tmp_path / 'out.csv'}"]) == 2
    assert r"'\n' is in the label 'two\nlines'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    assert main([*argv, f"--output={tmp_path / 'out.jsonl'}"]) == 0


def test_single_label_and_invalid_unicode_are_refused() -> None:
    with pytest.raises(InputError, match=r"needs at least two labels, got 1 \('only'\)"):
        LabelSpace(("only",))
    with pytest.raises(InputError, match="half a character"):
        LabelSpace(("a", "\ud800"))


def test_fifty_thousand_labels_take_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    space = LabelSpace(tuple(f"label {number}" for number in range(50_000)))
    (tmp_path / "names.txt").write_text("\n".join(space.names))
    assert read_label_names(tmp_path / "names.txt") == space.names
    BertConfig(id2label=space.id2label, label2id=space.label2id).save_pretrained(tmp_path)
    assert LabelSpace.from_config(BertConfig.from_pretrained(tmp_path)) == space
    assert space.decode(np.eye(2, 50_000, 7, dtype=bool)) == [["label 7"], ["label 8"]]
    (tmp_path / "d.jsonl").write_text(json.dumps({"labels": list(range(50_000))}) + "\n")
    columns = LabelColumns(form="ids", names=space.names)
    _, found = columns.read(read_file(tmp_path / "d.jsonl"), "d")
    assert list(found[0]) == list(space.names)
    assert time.process_time() - started < 60  # quadratic time would be minutes


def test_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "year=2020"
    folder.mkdir()
    table = pyarrow.table({"text": ["a"], "labels": [["x"]]})
    pyarrow.parquet.write_table(table, folder / "d.parquet")
    assert read_file(folder / "d.parquet").column_names == ["text", "labels"]
