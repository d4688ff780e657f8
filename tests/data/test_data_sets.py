"""Folders and data sets mean the same as their files: one reader for all."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from zlpr_hf import InputError
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

CELLS = ["None", "NA;007", "True", "1e5", "2024-01-02", "null;nan", "x"]
ROWS = [{"text": f"{cell} text {i}", "labels": cell} for i, cell in enumerate(CELLS * 3)]
SPLITS = ("train", "validation", "test")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def label_sets(data: Any, split: str) -> list[tuple[str, list[str]]]:
    names = data.label_space.names
    return [(row["text"], sorted(names[i] for i in row["label_ids"])) for row in data.splits[split]]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_folder_means_the_same_as_its_files(tmp_path: Path, suffix: str) -> None:
    paths = {split: write(tmp_path / f"{split}{suffix}", ROWS) for split in SPLITS}
    how: dict[str, Any] = {"label_delimiter": ";", "missing_words": "label"}
    files = load_data(
        DataArguments(**{f"{key}_file": str(path) for key, path in paths.items()} | how)
    )
    folder = load_data(DataArguments(dataset_name=str(tmp_path), **how))
    expected = [(row["text"], sorted(row["labels"].split(";"))) for row in ROWS]
    for data in (files, folder):
        for split in SPLITS:
            assert label_sets(data, split) == expected
    if suffix != ".parquet":
        streamed = load_data(DataArguments(dataset_name=str(tmp_path), streaming=True, **how))
        assert streamed.label_space == folder.label_space
        assert label_sets(streamed, "test") == expected


def test_a_split_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in (0, 1):
        rows = ROWS[number * 10 : number * 10 + 10]
        write(tmp_path / "data" / f"train-0000{number}-of-00002.csv", rows)
    for split in ("validation", "test"):
        write(tmp_path / "data" / f"{split}-00000-of-00001.csv", ROWS)
    how: dict[str, Any] = {"label_delimiter": ";", "missing_words": "label"}
    data = load_data(DataArguments(dataset_name=str(tmp_path), **how))
    assert [text for text, _ in label_sets(data, "train")] == [row["text"] for row in ROWS[:20]]
    streamed = load_data(DataArguments(dataset_name=str(tmp_path), streaming=True, **how))
    assert streamed.label_space == data.label_space


def test_a_bad_row_in_a_folder_is_named_by_file_and_line(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / f"{split}.csv", ROWS)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("one,two,three\n")
    with pytest.raises(InputError, match=r"train\.csv, line 23: expected 2 columns"):
        load_data(DataArguments(dataset_name=str(tmp_path), label_delimiter=";"))


def test_types_that_a_folder_declares(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / f"{split}.jsonl", [{"text": f"t{i}", "labels": [i % 2]} for i in range(8)])
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: labels\n    list:\n      class_label:\n        names:\n"
        "          '0': sad\n          '1': glad\n---\n"
    )
    data = load_data(DataArguments(dataset_name=str(tmp_path)))
    assert data.label_space.names == ("sad", "glad")
    assert label_sets(data, "train")[:2] == [("t0", ["sad"]), ("t1", ["glad"])]


def test_save_to_disk(tmp_path: Path) -> None:
    features = Features(text=Value("string"), labels=List(ClassLabel(names=["b", "a"])))
    rows = {"text": [f"t{i}" for i in range(40)], "labels": [[i % 2] for i in range(40)]}
    single = Dataset.from_dict(rows, features=features)
    single.save_to_disk(tmp_path / "single")
    DatasetDict(train=single, test=single.select(range(4))).save_to_disk(tmp_path / "several")
    data = load_data(DataArguments(dataset_name=str(tmp_path / "single")))
    assert data.label_space.names == ("b", "a")
    assert sum(map(len, data.splits.values())) == 40
    data = load_data(DataArguments(dataset_name=str(tmp_path / "several")))
    assert label_sets(data, "test") == [("t0", ["b"]), ("t1", ["a"]), ("t2", ["b"]), ("t3", ["a"])]
