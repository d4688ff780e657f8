"""The block before training says how the rows were read."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from zlpr_hf import LabelSpace
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.reading import Reading
from zlpr_hf.data.sources import read_file
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

NAMES = ["sky", "red"]


def read(path: Path, content: str, **options: Any) -> Reading:
    path.write_text(content)
    files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(path))
    found = load_data(DataArguments(**files, **options)).reading
    assert found is not None
    return found


def lines(*labels: Any) -> str:
    rows = [{"text": f"text {i}", "labels": each} for i, each in enumerate(labels)]
    return "".join(json.dumps(row) + "\n" for row in rows)


FORMS: dict[str, tuple[str, str, dict[str, Any], tuple[str, str, str], list[str]]] = {
    "delimited": (
        "d.csv", "text,labels\na,\nb,red;sky\n", {"label_delimiter": ";"},
        ("columns separated by ','", "names separated by ';'", "in alphabetical order"),
        ["red", "sky"],
    ),
    "another separator": (
        "d.csv", "text;labels\na;red|sky\nb;sky\n",
        {"label_delimiter": "|", "missing_labels": "no_label"},
        ("columns separated by ';'", "names separated by '|' (empty: no label)",
         "in alphabetical order"), ["red", "sky"],
    ),
    "no header": (
        "d.tsv", "a\tred\nb\tsky\n", {"column_names": ["text", "labels"], "join_rows": True},
        ("columns separated by '\\t', no header", "one name per row", "in alphabetical order"),
        ["red", "sky"],
    ),
    "written lists": (
        "d.csv", "text,labels\na,\"['red', 'sky']\"\n", {},
        ("columns separated by ','", "lists of names", "in alphabetical order"), ["red", "sky"],
    ),
    "lists": (
        "d.jsonl", lines(["sky"], ["red"]), {},
        ("JSON Lines", "lists of names", "in alphabetical order"), ["red", "sky"],
    ),
    "columns": (
        "d.csv", "text,sky,red\na,1,0\n", {"label_columns": NAMES},
        ("columns separated by ','", "one column per label", "in the order of the columns"), NAMES,
    ),
    "mapping": (
        "d.jsonl", lines({"sky": 1, "red": 0}), {},
        ("JSON Lines", "values by name", "in alphabetical order"), ["red", "sky"],
    ),
    "multi-hot": (
        "d.jsonl", lines([1.0, 0.0]), {},
        ("JSON Lines", "one number per label", "numbered by position"), ["LABEL_0", "LABEL_1"],
    ),
    "fastText": (
        "d.train", "__label__sky a\n__label__red b\n", {},
        ("fastText lines", "lists of names", "in alphabetical order"), ["red", "sky"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_facts_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    file, content, options, facts, labels = FORMS[name]
    found = read(tmp_path / file, content, **options)
    assert (found.format, found.label_words, found.label_order) == facts
    assert list(found.labels) == labels
    assert len(found.render().splitlines()) == 4
    facts = found.facts()
    assert "example" not in facts
    assert json.loads(json.dumps(facts)) == facts
    if "join_rows" not in options:
        assert read(tmp_path / file, content, **options, streaming=True) == found


def test_order_of_a_names_file_and_of_a_schema(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\nred\n")
    names = {"label_names_file": str(tmp_path / "names.txt")}
    found = read(tmp_path / "d.jsonl", lines([0], [1]), label_form="ids", **names)
    assert (found.label_order, found.labels) == ("in the order of label_names_file", tuple(NAMES))
    features = Features(text=Value("string"), labels=List(ClassLabel(names=NAMES)))
    rows = Dataset.from_dict(
        {"text": [f"t{i}" for i in range(18)], "labels": [[0], [1]] * 9}, features=features
    )
    rows.to_parquet(tmp_path / "d.parquet")
    data = load_data(DataArguments(train_file=str(tmp_path / "d.parquet")))
    assert data.reading is not None
    assert data.reading.format == "Parquet"
    assert data.reading.label_order == "in the order that the data declares"


def test_example_is_the_first_row_with_labels(tmp_path: Path) -> None:
    text = "word " * 90
    content = f"text,red,sky\nnothing,0,0\n{text},0.75,1\nc,1,0\n"
    found = read(tmp_path / "d.csv", content, label_columns=["red", "sky"])
    assert found.example == (2, (text,), {"red": 0.75, "sky": 1.0})
    last = found.render().splitlines()[-1]
    assert last.startswith("row 2: 'word word")
    assert last.endswith("...' -> red 0.75, sky")
    assert len(last) < 100


def test_evaluation_says_how_it_reads_rows(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(lines([1.0, 0.0], [0.0, 1.0]))
    rows = EvaluationSet.from_rows(
        read_file(tmp_path / "d.jsonl"), "d.jsonl", LabelColumns(default_names=("sky", "red")),
        LabelSpace(tuple(NAMES)),
    )  # fmt: skip
    assert rows.reading is not None
    assert rows.reading.label_order == "in the order of the model"
    assert rows.reading.labels == tuple(NAMES)


def test_names_with_commas_are_quoted(tmp_path: Path) -> None:
    found = read(tmp_path / "d.jsonl", lines(["red, dark", "sky"], ["sky"]))
    shown = found.render().splitlines()
    assert shown[-2].endswith("'red, dark', sky")
    assert shown[-1].endswith("-> 'red, dark', sky")
