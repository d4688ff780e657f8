"""Labels of a second file, and responses of several annotators, become rows of their texts."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.data.export_files import write_csv, write_lines
from zlpr_hf import InputError
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.sources import read_file
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

TEXTS = [{"id": f"0{i}", "text": f"text {i}", "site": "x"} for i in range(6)]
TAGS = [("00", "a"), ("05", "b"), ("00", "b"), ("02", "a"), ("77", "c"), ("03", "b")]


def load(folder: Path, **options: Any) -> LabelledData:
    files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(folder / "t.csv"))
    return load_data(DataArguments(**files, labels_file=str(folder / "l.csv"), **options))


def write(folder: Path, tags: list[tuple[str, str]], texts: list[dict[str, str]] = TEXTS) -> None:
    write_csv(folder / "t.csv", texts)
    write_csv(folder / "l.csv", [{"id": key, "labels": tag} for key, tag in tags])


def test_labels_file_is_the_left_join_of_pandas(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, TAGS)
    data = load(tmp_path, join_rows=True, missing_labels="no_label")
    names = data.label_space.names
    found = {row["text"]: {names[i] for i in row["label_ids"]} for row in data.splits["train"]}
    frames = [pd.read_csv(tmp_path / name, dtype=str) for name in ("t.csv", "l.csv")]
    joined = frames[0].merge(frames[1], on="id", how="left").groupby("text")["labels"]
    assert found == {text: set(each.dropna()) for text, each in joined}
    assert "1 label rows belong to no text" in caplog.messages[0]


def test_texts_without_a_label_row_were_not_judged(tmp_path: Path) -> None:
    write(tmp_path, TAGS)
    with pytest.raises(InputError, match="join_rows true"):
        load(tmp_path, label_delimiter=";")
    data = load(tmp_path, join_rows=True)
    assert data.splits["train"]["text"][:] == ["text 0", "text 2", "text 3", "text 5"]


@pytest.mark.parametrize(
    ("texts", "tags", "options", "match"),
    [
        (TEXTS + TEXTS[:1], TAGS, {}, "several texts have the id '00'"),
        (TEXTS, [("1", "a")], {}, "no 'id' of this file"),
        (TEXTS, TAGS, {"id_column": "Id"}, "no column 'Id'"),
        ([row | {"labels": "a"} for row in TEXTS], TAGS, {}, "both have a column 'labels'"),
        (TEXTS, TAGS, {"streaming": True}, "without streaming"),
    ],
)
def test_what_cannot_be_joined_is_one_line(
    texts: Any, tags: Any, options: Any, match: str, tmp_path: Path
) -> None:
    write(tmp_path, tags, texts)
    with pytest.raises(InputError, match=match):
        load(tmp_path, join_rows=True, **options)


def records(*responses: list[tuple[list[str], str]]) -> list[dict[str, Any]]:
    return [
        {
            "text": f"text {i}",
            "topics.responses": [value for value, _ in each],
            "topics.responses.status": [status for _, status in each],
        }
        for i, each in enumerate(responses)
    ]


def as_objects(row: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(row["topics.responses"], row["topics.responses.status"], strict=True)
    return {
        "text": row["text"],
        "topics.responses": [{"value": value, "status": status} for value, status in pairs],
    }


def as_lists(row: dict[str, Any]) -> dict[str, Any]:
    value, status = row["topics.responses"], row["topics.responses.status"]
    return {"text": row["text"], "topics.responses": {"value": value, "status": status}}


def as_cells(row: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) for key, value in row.items()}


@pytest.mark.parametrize("form", [dict, as_objects, as_lists, as_cells])
def test_responses_of_several_annotators(form: Any, tmp_path: Path) -> None:
    rows = records(
        [(["a"], "submitted"), (["b"], "submitted")],
        [(["b"], "submitted"), (["a"], "discarded")],
        [(["a", "c"], "submitted"), (["c", "a"], "submitted")],
        [],
    )
    write_lines(tmp_path / "d.jsonl", map(form, rows))
    files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(tmp_path / "d.jsonl"))
    options: dict[str, Any] = {"label_column": "topics.responses"}
    with pytest.raises(InputError, match="1 texts are in 2 rows with different labels"):
        load_data(DataArguments(**files, **options))
    data = load_data(DataArguments(**files, **options, join_rows=True))
    names = data.label_space.names
    found = {row["text"]: {names[i] for i in row["label_ids"]} for row in data.splits["train"]}
    assert found == {"text 0": {"a", "b"}, "text 1": {"b"}, "text 2": {"a", "c"}}
    rows = EvaluationSet.from_rows(
        read_file(tmp_path / "d.jsonl"), "d.jsonl",
        LabelColumns(column="topics.responses", join_rows=True), data.label_space,
    )  # fmt: skip
    assert rows.label_ids == data.splits["train"]["label_ids"][:]


def test_broken_export_is_one_line(tmp_path: Path) -> None:
    task = {"data": {"text": "a"}, "annotations": [{"result": [{"value": {"choices": ["x"]}}]}]}
    (tmp_path / "d.json").write_text(json.dumps([task]))
    (tmp_path / "d.jsonl").write_text(json.dumps(task) + "\n")
    for name in ("d.json", "d.jsonl"):
        with pytest.raises(InputError, match=r"d\.jsonl?, (row|line) 1: .*from_name"):
            load_data(DataArguments(train_file=str(tmp_path / name), label_column="topics"))
