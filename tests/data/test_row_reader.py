"""One reader for training, evaluation, prediction and streaming: same rows, same errors."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from zlpr_hf import InputError
from zlpr_hf.data import delimited_file
from zlpr_hf.data.row_reader import BadRow, Row, RowReader
from zlpr_hf.data.sources import read_file
from zlpr_hf.data.streaming.row_stream import stream_files


def reader_of(path: Path, **options: Any) -> RowReader:
    return RowReader(str(path), **options)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


BROKEN = {
    "width": ("d.csv", "text,labels\na,x\n\nb,c,x\n", "line 4: expected 2 columns.*got 3"),
    "quote": ("d.csv", 'text,labels\na,x\n"b\nc,x\n', "line 3: not valid CSV"),
    "byte": ("d.tsv", b"text\tlabels\na\tx\n\xc3\xa9\xff\tx\n", "line 3: .*UTF-8.*byte 3"),
    "json": ("d.jsonl", '{"text": "a"}\n\n{"text"}\n', "line 3: not JSON"),
    "value": ("d.jsonl", '{"text": "a"}\n3\n', "line 2: expected one JSON object per line"),
    "key": ("d.jsonl", '{"text": "a"}\n{"text": "a", "text": "b"}\n', "line 2: duplicate key"),
    "nul key": ("d.jsonl", '{"text": "a", "b\\u0000c": 1}\n', "line 1: .*NUL byte"),
    "surrogate": ("d.jsonl", '{"text": "a"}\n{"text": "\\udc00"}\n', "line 2: .*surrogate"),
    "deep": ("d.jsonl", '{"text": ' + "[" * 150 + "]" * 150 + "}\n", "line 1: .*100 levels"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_all_readers_give_the_same_reason(case: str, tmp_path: Path) -> None:
    name, content, message = BROKEN[case]
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as held:
        read_file(path)
    with pytest.raises(InputError) as streamed:
        list(stream_files([str(path)], []))
    bad = next(row for row in reader_of(path) if isinstance(row, BadRow))
    assert str(held.value) == str(streamed.value) == f"{path}, {bad.explanation}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", "text,text\na,b\n", "line 1: duplicate column 'text'"),
        ("d.csv", "text,a\0b\na,b\n", "line 1: .*NUL byte"),
        ("d.csv", b"t\xff,labels\na,b\n", "line 1: expected UTF-8"),
        ("d.csv", "", "expected a line of column names"),
        ("d.parquet", "PAR1", "not a readable Parquet file"),
        ("d.xlsx", "PK", "save the sheet as CSV UTF-8"),
        ("d.doc", "", "unknown file type"),
    ],
)
def test_all_readers_refuse_the_same_files(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, content)
    refusals = set()
    for read in (read_file, reader_of, lambda path: stream_files([str(path)], [])):
        with pytest.raises(InputError, match=message) as refusal:
            read(path)
        refusals.add(str(refusal.value))
    assert len(refusals) == 1


def test_column_types_that_datasets_lacks_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    maps = pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "more": maps}), path)
    for read in (read_file, lambda path: stream_files([str(path)], [])):
        with pytest.raises(
            InputError, match=r"d\.parquet: a column has an unsupported type: .*map"
        ):
            read(path)


def test_rows_after_a_bad_one_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", 'text,n\na,1\n"b"c,2\n\n d,\n"e\nf",4\n,5\n')
    rows = list(reader_of(path, text_columns=["text"]))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0] == Row(1, ("a",), {"text": "a", "n": "1"})
    assert rows[3] == Row(4, ("e\nf",), {"text": "e\nf", "n": "4"})
    assert {row.number: row.line for row in rows if isinstance(row, BadRow)} == {2: 3}
    assert rows[4] == Row(5, ("",), {"text": "", "n": "5"})


def test_an_empty_line_is_a_cell_of_a_single_column(tmp_path: Path) -> None:
    """A spreadsheet writes an empty cell so; a lost row would shift all that follow."""
    path = write(tmp_path / "one.csv", "text\nred\n\nblue\n")
    rows = list(reader_of(path, text_columns=["text"]))
    assert [row.number for row in rows] == [1, 2, 3]
    assert rows[1] == Row(2, ("",), {"text": ""})
    path = write(tmp_path / "two.csv", "text,labels\nred,x\n\nblue,y\n")
    assert len(list(reader_of(path))) == 2


def test_standard_input_counts_lines_from_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"text,n\na,1\nb\nc,3\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    rows = list(RowReader("-", "csv", text_columns=["text"]))
    assert [type(row) for row in rows] == [Row, BadRow, Row]
    assert rows[1].explanation.startswith("line 3: expected 2 columns")  # type: ignore[union-attr]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_cells_are_those_of_pythons_own_module(delimiter: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    cells = ["a", "", '"', 'a"b', "x\ny", "x\r\ny", "é", " a ", "\t", ",", "a\x00b", "\u2028"]
    rows = [["text", "n"], *([rng.choice(cells), rng.choice(cells)] for _ in range(300))]
    path = tmp_path / ("d.csv" if delimiter == "," else "d.tsv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    assert [list(row.cells.values()) for row in reader_of(path)] == rows[1:]  # type: ignore[union-attr]


def test_long_cells_leave_the_limit_of_the_process_alone(tmp_path: Path) -> None:
    """The csv module has one limit per process, which other code may rely on."""
    limit = csv.field_size_limit()
    path = write(tmp_path / "d.csv", "text,n\n" + f"{'x' * (limit + 1)},1\n" * 3)
    seen = set()

    def watch() -> None:
        while not done.is_set():
            seen.add(csv.field_size_limit())

    done, watcher = threading.Event(), threading.Thread(target=watch)
    watcher.start()
    for row in reader_of(path):
        assert isinstance(row, Row)
        seen.add(csv.field_size_limit())
        with pytest.raises(csv.Error, match="field larger than field limit"):
            next(csv.reader(["x" * (limit + 1)]))
    assert read_file(path).num_rows == 3
    done.set()
    watcher.join()
    assert seen == {limit}


def test_an_unclosed_quote_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited_file, "CSV", delimited_file._own_csv_module())
    delimited_file.CSV.field_size_limit(1000)
    path = write(tmp_path / "d.csv", 'text,n\n"a,1\n' + "b,2\n" * 100_000)
    tracemalloc.start()
    bad, *good = reader_of(path)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert bad.content.startswith('"a,1\nb,2\n')
    assert len(good) == 100_000 - (bad.content.count("\n") - 1)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_file(suffix: str, tmp_path: Path) -> None:
    path, count = tmp_path / f"d{suffix}", 40_000
    if suffix == ".csv":
        write(path, "text,n\n" + f"{'x' * 200},1\n" * count)
    elif suffix == ".jsonl":
        write(path, (json.dumps({"text": "x" * 200}) + "\n") * count)
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 200] * count}), path)
    reader = reader_of(path, text_columns=["text"])
    tracemalloc.start()
    assert sum(1 for _ in reader) == count
    assert tracemalloc.get_traced_memory()[1] < 2_000_000  # the texts alone are 8 MB
    tracemalloc.stop()
