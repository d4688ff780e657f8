"""Files as other tools write them: every row is read, and the same rows come out."""

import bz2
import csv
import gzip
import json
import lzma
import random
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zlpr_hf import InputError
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sample_rows import read_sample
from zlpr_hf.data.sources import read_file
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

ROWS = [
    {"text": "red dog, small", "labels": ["red", "dog"]},
    {"text": 'she said "sea"', "labels": ["sea"]},
    {"text": "é 2", "labels": []},
]
TSV = {
    "swallowed": ['"red dog\tx', "blue sea\ty", 'green "\tx', "sky\ty"],
    "opened": ["red\tx", '"blue\ty', "sky\ty"],
    "in the last column": ["red\tx", 'blue\t"y', "sky\ty"],
    "in the middle": ['a "red" b\tx', "b\ty"],
    "followed by text": ['"red" dog\tx', "b\ty"],
    "single": ['"\tx', '""\ty', '"""\tx'],
}


@pytest.mark.parametrize("case", TSV)
def test_quotes_in_tsv_lose_no_row(case: str, tmp_path: Path) -> None:
    path = tmp_path / "d.tsv"
    path.write_text("text\tlabels\n" + "".join(f"{line}\n" for line in TSV[case]))
    for read in (read_file, lambda path: read_file(path, FileOptions(quoting="none"))):
        rows = read(path)
        assert rows.num_rows == len(TSV[case])
        assert [each[-1] for each in rows["labels"][:]] == [line[-1] for line in TSV[case]]
    assert len(list(RowReader(str(path), text_columns=["text"]))) == len(TSV[case])


def test_quoted_tsv_of_pandas_is_read_as_csv_is(tmp_path: Path) -> None:
    texts = ['a "b"', "tab\there", "two\nlines", '"', 'x\n"y"\tz\n', "plain", "'q'", '""', "a\r\nb"]
    frame = pd.DataFrame({"text": texts, "labels": list("xyxyxyxyx"), "n": range(9)})
    frame.to_csv(tmp_path / "d.tsv", sep="\t", index=False)
    assert read_file(tmp_path / "d.tsv")["text"][:] == texts
    with (tmp_path / "e.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "labels"])
        writer.writerows([text, "x"] for text in texts)
    # A line of a cell that is a row by itself is never swallowed: set quoting csv for such files.
    with pytest.raises(InputError, match="line 7"):
        read_file(tmp_path / "e.tsv")
    assert read_file(tmp_path / "e.tsv", FileOptions(quoting="csv"))["text"][:] == texts


@pytest.mark.parametrize("quoting", ["csv", "backslash"])
def test_unclosed_quote_does_not_join_rows(quoting: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text('text,labels\n"it rattles,a\n"I like it.",b\n"It works.",a\n')
    with pytest.raises(InputError, match="line [23]: not valid CSV"):
        read_file(path, FileOptions(quoting=quoting))
    with pytest.raises(InputError, match="line [23]: not valid CSV"):
        read_sample(str(path))


def test_quotes_escaped_by_backslashes(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text('text,labels\n"so \\"fine\\", yes",x\nb,y\n')
    with pytest.raises(InputError, match="line 2.*quoting backslash"):
        read_file(path)
    assert read_file(path, FileOptions(quoting="backslash"))["text"][0] == 'so "fine", yes'


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_encodings(separator: str, name: str, encoding: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [row["text"] for row in ROWS], "labels": ["a/b", "c", ""]})
    text = frame.to_csv(sep=separator, index=False)
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / name).write_bytes((mark + text).encode(encoding))
    assert read_file(tmp_path / name)["text"][:] == [row["text"] for row in ROWS]


def lines_of(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


FRAME = pd.DataFrame(ROWS)
JSON_FILES = {
    "d.ndjson": lines_of(ROWS),
    "array.json": json.dumps(ROWS),
    "pretty.json": json.dumps(ROWS, indent=2),
    "lines of an array.json": "[" + ",\n".join(map(json.dumps, ROWS)) + "]",
    "array.jsonl": json.dumps(ROWS),
    "data.json": json.dumps({"version": 1, "data": ROWS}),
    "pretty data.json": json.dumps({"data": ROWS, "version": 1}, indent=1),
    "examples.json": json.dumps({"examples": ROWS}),
    "pandas.json": FRAME.to_json(),
    "records.json": FRAME.to_json(orient="records"),
    "index.json": FRAME.to_json(orient="index"),
    "split.json": FRAME.to_json(orient="split"),
    "table.json": FRAME.to_json(orient="table"),
    "lists.json": json.dumps(FRAME.to_dict(orient="list"), indent=1),
    "d.txt": lines_of(ROWS),
}


@pytest.mark.parametrize("name", JSON_FILES)
def test_json_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(JSON_FILES[name])
    rows = read_file(tmp_path / name)
    assert [{key: row[key] for key in ("text", "labels")} for row in rows] == ROWS


@pytest.mark.parametrize("text", ["[1]", '{"a": 1\n}', "[{]", '[{"a": 1, "a": 2}]', "[" * 9000])
def test_broken_documents_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(InputError, match=r"d\.json"):
        read_file(tmp_path / "d.json")


COMPRESSORS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@pytest.mark.parametrize("inner", ["csv", "jsonl", "json", "tsv"])
def test_compressed_files(inner: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "labels": ["x", "y"]})
    content = {
        "csv": frame.to_csv(index=False),
        "tsv": frame.to_csv(index=False, sep="\t"),
        "jsonl": frame.to_json(orient="records", lines=True),
        "json": frame.to_json(orient="records"),
    }[inner]
    for suffix, opened in COMPRESSORS.items():
        with opened(tmp_path / f"d.{inner}{suffix}", "wt") as file:
            file.write(content)
    for name, member in ((f"d.{inner}.zip", "x"), ("d.zip", f"x.{inner}")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, content)
    for path in tmp_path.iterdir():
        assert read_file(path).to_list() == frame.to_dict("records")


@pytest.mark.parametrize("suffix", [*COMPRESSORS, ".zip"])
@pytest.mark.parametrize("inner", ["csv", "jsonl", "txt", "json"])
def test_damaged_compressed_files_are_one_line(suffix: str, inner: str, tmp_path: Path) -> None:
    lines = [json.dumps({"text": str(random.random()), "labels": "x"}) for _ in range(3000)]
    content = "\n".join(lines) if inner != "csv" else "text,labels\n" + "\n".join(lines)
    path = tmp_path / f"d.{inner}{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"d.{inner}", content)
    else:
        with COMPRESSORS[suffix](path, "wt") as file:
            file.write(content)
    whole = path.read_bytes()
    middle = len(whole) // 2
    other = whole[:middle] + bytes(range(256)) + whole[middle + 256 :]
    for damaged in (whole[:middle], b"text" + whole[4:middle], other):
        path.write_bytes(damaged)
        for read in (read_file, lambda path: list(RowReader(str(path), text_columns=["text"]))):
            with pytest.raises(InputError, match=f"d.{inner}{suffix}"):
                read(path)


def test_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a.csv", "text\n")
        archive.writestr("b.csv", "text\n")
    with pytest.raises(InputError, match="one file in the archive, got 2"):
        read_file(tmp_path / "d.zip")


@pytest.mark.parametrize("name", ["d.txt", "d.train", "d.valid", "d.ft"])
def test_fasttext(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("__label__red __label__web-dev a dog\n\nthe sea __label__sea\n")
    assert read_file(tmp_path / name).to_list() == [
        {"text": "a dog", "labels": ["red", "web-dev"]},
        {"text": "the sea", "labels": ["sea"]},
    ]


def test_text_file_is_read_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "d.txt"
    path.write_text("ID\tTweet\tred\n1\ta b\t1\n")
    assert read_file(path).column_names == ["ID", "Tweet", "red"]
    path.write_text("only a text\n")
    with pytest.raises(InputError, match="no labels in its first line"):
        read_file(path)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_files_without_a_header(separator: str, tmp_path: Path) -> None:
    path = tmp_path / ("d.csv" if separator == "," else "d.tsv")
    path.write_text("".join(f"I paid {i} euros{separator}x;y\n" for i in range(4)))
    files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(path))
    with pytest.raises(InputError, match="set column_names"):
        load_data(DataArguments(**files, label_delimiter=";"))
    for streaming in (False, True):
        data = load_data(
            DataArguments(
                **files, label_delimiter=";", column_names=["text", "labels"], streaming=streaming
            )
        )
        assert len(data.splits["test"]) == 4


def test_label_studio(tmp_path: Path) -> None:
    def task(text: str, *chosen: list[str], **annotation: Any) -> dict[str, Any]:
        results = [
            {"type": "choices", "from_name": "topics", "value": {"choices": names}}
            for names in chosen
        ]
        return {"data": {"text": text}, "annotations": [{"result": results, **annotation}]}

    tasks = [
        task("a", ["x", "y"]),
        task("b", ["y"], was_cancelled=True),
        task("c", ["x"], ["z"]),
        {"data": {"text": "d"}, "annotations": []},
    ]
    minimal = [{"text": "a", "topics": {"choices": ["x", "y"]}}, {"text": "b", "topics": "z"}]
    for name, content, wanted in (
        ("full", tasks, {"a": {"x", "y"}, "c": {"x", "z"}}),
        ("min", minimal, {"a": {"x", "y"}, "b": {"z"}}),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(path))
        data = load_data(DataArguments(**files, label_column="topics"))
        names = data.label_space.names
        rows = data.splits["train"]
        found = {row["text"]: {names[i] for i in row["label_ids"]} for row in rows}
        assert found == wanted


def test_columns_that_are_not_used_may_hold_anything(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = [{"text": "a", "labels": ["x"], "z": 1}, {"text": "b", "labels": ["y"], "z": "s"}]
    (tmp_path / "d.jsonl").write_text(lines_of(rows))
    table = pa.table(
        {
            "text": ["a", "b"],
            "labels": pa.array([["x"], ["y"]], pa.list_(pa.string_view())),
            "z": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    for name in ("d.jsonl", "d.parquet"):
        files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(tmp_path / name))
        for streaming in (False, True):
            data = load_data(DataArguments(**files, streaming=streaming))
            assert data.label_space.names == ("x", "y")
