"""zlpr predict: all formats, bad rows, and identical output after kills."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zlpr_hf import load_pipeline
from zlpr_hf.cli.main import main
from zlpr_hf.inference import label_file as labelling

REPOSITORY = Path(__file__).parents[2]
TEXTS = ["red sky", "a green fish, and a blue bird", "the sea is big", "red green blue"]


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any]) -> str:
    return str(finished[0])


@pytest.fixture(scope="module")
def expected(model: str) -> list[list[str]]:
    return [[each["label"] for each in row] for row in load_pipeline(model)(TEXTS)]


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_files_without_a_header_and_without_quoting(
    model: str, expected: list[list[str]], tmp_path: Path
) -> None:
    path, output = tmp_path / "in.tsv", tmp_path / "out.jsonl"
    path.write_text("".join(f'{i}\t"{text}"\n' for i, text in enumerate(TEXTS)))
    words = ["predict", model, "--input", str(path), "--output", str(output)]
    for quoting, mark in (("none", '"'), ("auto", "")):
        how = ["--column_names", "id", "text", "--quoting", quoting, "--overwrite"]
        assert main([*words, *how]) == 0
        assert [row["text"] for row in read(output)] == [f"{mark}{text}{mark}" for text in TEXTS]
    assert [row["predicted_labels"] for row in read(output)] == expected


def read(path: Path) -> list[dict[str, Any]]:
    """Read rows, with labels as lists, independently of the package."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))
    for row in rows:
        row["predicted_labels"] = (
            row["predicted_labels"].split(";") if row["predicted_labels"] else []
        )
    return rows


@pytest.mark.parametrize("source", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_output_has_the_same_rows_and_labels_in_every_format(
    source: str, target: str, model: str, expected: list[list[str]], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rows = [{"id": str(i), "note": 'ü "\n;', "text": text} for i, text in enumerate(TEXTS)]
    path, output = tmp_path / f"in{source}", tmp_path / f"out{target}"
    if source == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif source == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_csv(path, rows, "\t" if source == ".tsv" else ",")
    status = main(["predict", model, "--input", str(path), "--output", str(output)])
    if source == ".jsonl" and target != ".jsonl":
        assert status == 2
        assert "JSON Lines can only be written as JSON Lines" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == [path]
        return
    assert status == 0
    found = read(output)
    assert [row["predicted_labels"] for row in found] == expected
    assert [{key: row[key] for key in rows[0]} for row in found] == rows
    assert sorted(tmp_path.iterdir()) == sorted([path, output])
    assert "4 rows, " in capsys.readouterr().out


def test_parquet_columns_keep_their_types(model: str, tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": TEXTS,
            "when": pa.array([1, 2, None, 4], pa.timestamp("ms")),
            "small": pa.array([1, 2, 3, 4], pa.int8()),
            "list": pa.array([[1], [], None, [2, 3]], pa.list_(pa.int16())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    files = ["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out.parquet")]
    assert main(["predict", model, *files, "--logits"]) == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).equals(table)
    assert found.column_names[4:] == [
        "predicted_labels", "predicted_scores", "logit:blue", "logit:green", "logit:red"
    ]  # fmt: skip
    for row in found.to_pylist():
        above = {name for name in ("blue", "green", "red") if row[f"logit:{name}"] > 0}
        assert above == set(row["predicted_labels"])


def test_standard_input_is_labelled_to_standard_output(
    model: str, expected: list[list[str]]
) -> None:
    command = [sys.executable, "-m", "zlpr_hf.cli", "predict", model]
    text = "\n".join(TEXTS) + "\n\n"
    run = subprocess.run(command, input=text, capture_output=True, text=True, cwd=REPOSITORY)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row["predicted_labels"] for row in rows] == [*expected, []]
    assert [row["text"] for row in rows] == [*TEXTS, ""]
    more = ["--input_format", "csv", "--output_format", "csv", "--text_column", "body"]
    text = "id,body\n1,red\n2,the\n"
    run = subprocess.run(
        [*command, *more], input=text, capture_output=True, text=True, cwd=REPOSITORY
    )
    assert [row["id"] for row in csv.DictReader(io.StringIO(run.stdout))] == ["1", "2"]


def test_options_select_the_labels(model: str, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("red sky\nthe sea\n")

    def labels(*options: str) -> list[str]:
        output = tmp_path / "out.txt"
        arguments = ["--input", str(path), "--output", str(output), "--overwrite", *options]
        assert main(["predict", model, *arguments]) == 0
        return [line.split("\t")[0] for line in output.read_text().splitlines()]

    assert labels("--threshold", "1") == ["", ""]
    assert [len(row.split("|")) for row in labels("--threshold=0", "--label_delimiter=|")] == [3, 3]
    assert [len(row.split(";")) for row in labels("--min_labels=2", "--top_k=2")] == [2, 2]


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "json": (b"{not json", "line 2: not JSON"),
    "array": (b"[1, 2]", "line 2: expected one JSON object per line"),
    "missing": (b'{"txet": "a"}', "no column 'text'"),
    "number": (b'{"text": 3}', "column 'text': expected a text, got 3"),
    "null": (b'{"text": null}', "column 'text': expected a text, got None"),
    "bytes": (b'{"text": "\xff"}', "line 2: expected UTF-8 text, byte 11 is not"),
    "surrogate": (b'{"text": "\\ud800"}', "a lone surrogate"),
    "elsewhere": (b'{"text": "a", "note": ["\\udc00"]}', "a lone surrogate"),
    "deep": (b"[" * 100_000, "line 2: not JSON"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_rows_are_written_to_their_own_file(name: str, model: str, tmp_path: Path) -> None:
    line, reason = BAD_LINES[name]
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(b'{"text": "red"}\n' + line + b'\n{"text": "green"}\n')
    files = ["--input", str(path), "--output", str(output)]
    assert main(["predict", model, *files]) == 0
    assert [row["text"] for row in read(output)] == ["red", "green"]
    bad = read(tmp_path / "out.jsonl.bad.jsonl")
    assert [row["number"] for row in bad] == [2]
    assert reason in bad[0]["reason"]
    assert bad[0]["content"]


def test_bad_csv_rows_are_reported_with_their_reason(model: str, tmp_path: Path) -> None:
    path, output = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_bytes(b'id,text\n1,red\n2,a,b\n\n3,"a"b\n4,\xe9\n5,green\n6,"never closed\n7,x\n')
    assert main(["predict", model, "--input", str(path), "--output", str(output)]) == 0
    assert [row["id"] for row in read(output)] == ["1", "5"]
    bad = read(tmp_path / "out.csv.bad.jsonl")
    assert [row["number"] for row in bad] == [2, 3, 4, 6]
    assert "line 3: expected 2 columns as in the header, got 3" in bad[0]["reason"]
    assert bad[3]["content"] == '6,"never closed\n7,x\n'


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"id,text\n1\n", ["--strict"], "in.csv, line 2: expected 2 columns"),
        (b"p,q\na,b\n", [], "no column 'text' for the text; the columns are p, q"),
        (b"", [], "expected a line of column names, got nothing"),
        (b"text,text\na,b\n", [], "line 1: duplicate column 'text'"),
        (b"text,predicted_labels\na,b\n", [], "already has a column 'predicted_labels'"),
        (b"text\na\n", ["--threshold", "2"], "--threshold: expected a number from 0 to 1, got '2'"),
        (
            b"text\na\n",
            ["--batch_size", "0"],
            "--batch_size: expected a whole number of at least 1",
        ),
        (b"text\na\n", ["--label_delimiter", "e"], "'e' is in the label 'blue'; use ';'"),
        (b"text\na\n", ["--input_format", "xls"], "--input_format: invalid choice: 'xls'"),
        (b"text\na\n", ["--output", "out.doc"], "out.doc: unknown file type"),
        (b"text\na\n", ["--output", "none/out.csv"], "none: no such folder"),
        (b"text\na\n", ["--output", "-", "--output_format", "parquet"], "to standard output"),
        (b"text\na\n", ["--backend", "onnxruntime"], "no model.onnx"),
        (b"text\na\n", ["--input", "none.csv"], "none.csv: no such file"),
        (
            b"text\na\n",
            ["--top_k", "many"],
            "--top_k: expected a whole number of at least 1, got 'many'",
        ),
    ],
)
def test_invalid_input_is_one_line_and_writes_nothing(
    content: bytes,
    options: list[str],
    message: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_bytes(content)
    assert main(["predict", model, "--input", "in.csv", "--output", "out.csv", *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_existing_output_is_kept(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "in.txt", tmp_path / "out.txt"
    path.write_text("red\n")
    output.write_text("mine")
    command = ["predict", model, "--input", str(path), "--output", str(output)]
    assert main(command) == 2
    assert output.read_text() == "mine"
    assert "exists: choose another --output, or --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert output.read_text() == "red\tred\n"


def stop_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stop the next run in this process after some parts; the result undoes it."""
    whole = labelling.PartedFile.add
    count = 0

    def add(self: Any, *args: Any) -> None:
        nonlocal count
        if count == parts:
            raise MemoryError
        count += 1
        whole(self, *args)

    monkeypatch.setattr(labelling.PartedFile, "add", add)
    return lambda: monkeypatch.setattr(labelling.PartedFile, "add", whole)


def test_run_resumes_only_with_the_same_input_and_options(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(labelling, "PART_ROWS", 64)
    path, output = tmp_path / "in.txt", tmp_path / "out.txt"
    path.write_bytes(b"red\n\xff\nthe\n" * 100)
    command = ["predict", model, "--input", str(path), "--output", str(output)]
    go_on = stop_after(2, monkeypatch)
    assert main(command) == 1  # out of memory
    go_on()
    assert not output.exists()
    assert main([*command, "--threshold", "0.1"]) == 2
    assert "holds parts of a run with another threshold: resume that run" in capsys.readouterr().err
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "300 rows (128 by an earlier run)" in printed
    assert "100 of them left out" in printed
    found = [[each["label"] for each in row] for row in load_pipeline(model)(["red", "the"])]
    lines = [f"{';'.join(found[0])}\tred\n", f"{';'.join(found[1])}\tthe\n"]
    assert output.read_text() == "".join(lines) * 100
    assert len(read(tmp_path / "out.txt.bad.jsonl")) == 100
    path.write_text("red\n" * 100)
    go_on = stop_after(1, monkeypatch)
    assert main([*command, "--overwrite"]) == 1
    go_on()
    path.write_text("red\n" * 101)
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    assert output.read_text() == lines[0] * 101
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.txt", "out.txt"]


@pytest.mark.slow
def test_output_is_identical_after_kills_at_random_moments(model: str, tmp_path: Path) -> None:
    rows = [
        {"id": index, "text": " ".join(random.Random(index).choices(TEXTS, k=index % 3))}
        for index in range(6000)
    ]
    path = tmp_path / "in.csv"
    write_csv(path, rows)
    path.write_text(path.read_text() + "a row of one cell\n")

    def start(output: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "zlpr_hf.cli", "predict", model]
        return subprocess.Popen(
            [*command, "--input", str(path), "--output", str(output)],
            cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    assert start(tmp_path / "whole.csv").wait(120) == 0
    output, kills = tmp_path / "cut.csv", 0
    moments = random.Random(0)
    for seen in range(1, 5):
        process = start(output)
        wanted = tmp_path / "cut.csv.parts" / f"{seen - 1:06d}.part"
        while not wanted.exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert kills == seen or output.exists()
    assert kills >= 3
    if not output.exists():
        assert start(output).wait(120) == 0
    for suffix in ("", ".bad.jsonl"):
        whole = (tmp_path / f"whole.csv{suffix}").read_bytes()
        assert (tmp_path / f"cut.csv{suffix}").read_bytes() == whole
    assert len(read(output)) + len(read(tmp_path / "cut.csv.bad.jsonl")) == len(rows) + 1


def test_texts_and_a_file_on_the_command_line(
    model: str, expected: list[list[str]], tmp_path: Path, capfdbinary: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert main(["predict", model, *TEXTS[:2], "--batch_size", "2", *TEXTS[2:]]) == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["predicted_labels"] for row in rows] == expected
    scores = [score for row in rows for score in row["predicted_scores"]]
    assert scores == [round(score, 4) for score in scores]
    monkeypatch.chdir(tmp_path)
    write_csv(Path("new.csv"), [{"id": i, "Satz": text} for i, text in enumerate(TEXTS)])
    assert main(["predict", model, "new.csv", "-o", "out.csv"]) == 0
    assert [row["predicted_labels"] for row in read(Path("out.csv"))] == expected
    cells = [row["predicted_scores"].split(";") for row in read(Path("out.csv"))]
    assert [float(cell) for row in cells for cell in row if cell] == scores


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new.cvs"], "new.csv"),
        (["old/new.csv"], "no folder old"),
        (["what is in new.tsv"], "no such file"),
        (["and/or"], "no such file"),
        (["new.csv", "a text"], "one file or several texts"),
        (["notes"], "unknown type"),
        (["a text", "--input", "new.csv"], "--input"),
        (["a text", "--output", "out.csv"], "--output"),
    ],
)
def test_words_that_may_be_files_are_not_read_as_texts(
    words: list[str], message: str, model: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("new.csv", "notes"):
        Path(name).write_text("text\nred sky\n")
    assert main(["predict", model, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("out.csv").exists()


def test_a_terminal_gets_readable_lines(
    model: str, expected: list[list[str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfdbinary: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["predict", model, TEXTS[1]]) == 0
    (line,) = capfdbinary.readouterr().out.decode().splitlines()
    assert re.sub(r" \d\.\d\d", "", line).split() == expected[1]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert main(["predict", model, str(path)]) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[::2] == TEXTS
    assert lines[1].startswith(f"  {expected[0][0]} ")
    assert main(["predict", model, TEXTS[0], "--output_format", "jsonl"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["predicted_labels"] == expected[0]


def test_a_terminal_is_asked_for_texts(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"red sky\n"))
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", typed)
    assert main(["predict", model, "--input_format", "lines"]) == 0
    assert labelling.PROMPT in capsys.readouterr().err
