"""Files, folders and corpora, and the many ways in which a file can be broken."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from zlpr_hf import InputError
from zlpr_hf.data.sources import load_source, read_file

ROWS = [{"text": "red, sky", "labels": ["a", "b"]}, {"text": 'a "dog"', "labels": []}]


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_formats_agree(tmp_path: Path) -> None:
    lines = write(tmp_path / "d.jsonl", "\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    comma = write(tmp_path / "d.csv", '\ufefftext,labels\n"red, sky",a;b\n"a ""dog""",\n')
    tab = write(tmp_path / "d.tsv", 'text\tlabels\nred, sky\ta;b\n"a ""dog"""\t\n')
    assert read_file(lines).to_list() == read_file(tmp_path / "d.parquet").to_list() == ROWS
    assert read_file(comma).to_list() == read_file(tab).to_list()
    assert read_file(comma)["text"][:] == [row["text"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", "text,labels\nred,a\nred, sky,a\n", r"d\.csv, line 3: expected 2 columns.*got 3"),
        (
            "d.csv",
            'text,labels\n"red,a\n',
            r"d\.csv, line 2: not valid CSV: unexpected end of data",
        ),
        ("d.csv", "text,text\nred,a\n", "line 1: duplicate column 'text'"),
        ("d.csv", "text,labels\n", "holds no rows"),
        ("d.csv", "", "line 1: expected a line of column names"),
        ("d.jsonl", '{"text": "a"}\n{"text": \n', r"d\.jsonl, line 2: not JSON"),
        ("d.jsonl", '["a"]\n', r"row 1: expected an object, got 'a'"),
        (
            "d.jsonl",
            '{"text": "a", "labels": ["x"]}\n{"text": "b", "labels": "x"}\n',
            "column 'labels': expected one type, got a list of text in row 1, text in row 2",
        ),
        ("d.jsonl", "", "holds no rows"),
        ("d.parquet", "not parquet", "not a readable Parquet file"),
        ("d.xlsx", "x", r"expected one of \.csv"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read_file(path)
    assert "\n" not in str(caught.value)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("text,labels\ncafé,a\n".encode("latin-1"))
    with pytest.raises(InputError, match="line 2: expected UTF-8 text, byte 4 is"):
        read_file(tmp_path / "d.csv")


def test_missing_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        load_source(files={"train": str(tmp_path / "none.csv")})
    with pytest.raises(InputError, match="no such folder"):
        load_source(dataset_name=str(tmp_path / "none"))
    with pytest.raises(InputError, match="--train_file FILE or --dataset_name NAME"):
        load_source()
    with pytest.raises(InputError, match="train_file is missing"):
        load_source(files={"test": "x.csv"})
    with pytest.raises(InputError, match=r"'nobody/nothing' could not be loaded.*cwe"):
        load_source(dataset_name="nobody/nothing")


def test_local_folder_with_parquet_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        table = pyarrow.Table.from_pylist(ROWS)
        pyarrow.parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    source = load_source(dataset_name=str(tmp_path), dataset_config_name="simplified")
    assert set(source.splits) == {"train", "test"}
    assert source.splits["train"].to_list() == ROWS
