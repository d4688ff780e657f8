"""Every row of every split names the place of its text in the source."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from zlpr_hf import DataArguments
from zlpr_hf.data.corpora import CORPORA, Corpus
from zlpr_hf.workflows.load_data import load_data

ROWS = [
    {"text": f"text {i:02}" + "\nin two lines" * (i % 3 == 0), "labels": "ab"[i % 2]}
    for i in range(40)
]


def write(path: Path) -> Path:
    """Write the rows, with an empty line after every fifth."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    if path.suffix == ".jsonl":
        lines = [json.dumps(row | {"labels": [row["labels"]]}) for row in ROWS]
    elif path.suffix == ".tsv":
        lines = ["text\tlabels", *(f'"{row["text"]}"\t{row["labels"]}' for row in ROWS)]
    elif path.suffix == ".json":
        lines = [json.dumps(ROWS)]
    else:
        lines = ["text,labels", *(f'"{row["text"]}",{row["labels"]}' for row in ROWS)]
    spaced = [line + "\n" * (1 + (i % 5 == 0)) for i, line in enumerate(lines)]
    path.write_text("".join(spaced), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_place_is_the_first_line_of_the_row(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"d.{suffix}")
    held = write(tmp_path / f"held.{suffix}")
    data = load_data(
        DataArguments(train_file=str(path), test_file=str(held), label_delimiter=";"), ()
    )
    for split, file in (("train", path), ("validation", path), ("test", held)):
        lines = file.read_text(encoding="utf-8").splitlines()
        for row, (text,) in enumerate(data.texts(split)):
            name, _, line = data.place(split, row).partition(":")
            assert name == file.name
            assert text.split("\n")[0] in lines[int(line) - 1].replace("\\n", " ").replace('"', " ")


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_place_is_the_row_in_formats_without_lines(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"d.{suffix}")
    data = load_data(DataArguments(train_file=str(path), label_delimiter=";"), ())
    for split in data.splits:
        for row, (text,) in enumerate(data.texts(split)):
            number = int(data.place(split, row).removeprefix(f"d.{suffix}, row "))
            assert ROWS[number - 1]["text"] == text


def test_place_in_a_corpus_is_split_and_row(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {key: [row[key] for row in ROWS] for key in ("text", "labels")}
    monkeypatch.setitem(CORPORA, "mine", lambda _: Corpus({"train": columns}))
    data = load_data(DataArguments(dataset_name="mine", label_delimiter=";"), ())
    assert {data.place("test", row).partition(",")[0] for row in range(4)} == {"mine/train"}
