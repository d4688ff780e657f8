"""zlpr predict touches only its own files, and reports errors in one line."""

from __future__ import annotations

import csv
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.inference import label_file as labelling
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import LABELS, SCORES, RowWriter


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any]) -> str:
    return str(finished[0])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.csv.parts/thesis.txt", "out.csv.parts is in the way"),
        ("out.csv.done/thesis.txt", "out.csv.done is in the way"),
        ("out.csv.bad.jsonl", "out.csv.bad.jsonl exists: choose another --output"),
    ],
)
def test_files_of_others_are_kept(
    name: str, message: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text\nred\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("years of work")
    before = files_of(tmp_path)
    command = ["predict", model, "--input", str(tmp_path / "in.csv")]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 2
    assert message in capsys.readouterr().err
    assert files_of(tmp_path) == before


def test_output_link_is_followed_and_a_device_is_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text\nred\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "out.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "far" / "out.csv")
    command = ["predict", model, "--input", str(tmp_path / "in.csv"), "--output_format", "csv"]
    assert main([*command, "--output", str(tmp_path / "link.csv"), "--overwrite"]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert "red" in (tmp_path / "far" / "out.csv").read_text()
    assert main([*command, "--output", "/dev/null", "--overwrite"]) == 2
    assert "/dev/null is not a regular file (output)" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["in.jsonl", "in"])
def test_output_never_replaces_the_input(
    output: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("in.jsonl" if output == "in.jsonl" else "in.bad.jsonl")
    path.write_text('{"text": "red"}\n')
    command = ["predict", model, "--input", str(path), "--output", str(tmp_path / output)]
    assert main([*command, "--output_format", "jsonl", "--overwrite"]) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert path.read_text() == '{"text": "red"}\n'


def test_second_run_on_the_same_output_is_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text\nred\n")
    first = PartedFile(tmp_path / "out.csv", {}, overwrite=False)
    first.open()
    command = ["predict", model, "--input", str(tmp_path / "in.csv")]
    assert main([*command, "--output", str(tmp_path / "out.csv"), "--overwrite"]) == 2
    assert "another run is writing it now" in capsys.readouterr().err


def test_run_resumes_with_other_batches_and_another_path_to_the_input(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(labelling, "PART_CHARACTERS", 20)  # the length of texts also ends parts
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("red sky\n" * 20)
    whole, count = PartedFile.add, 0

    def add(self: PartedFile, *args: Any) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise MemoryError
        whole(self, *args)

    monkeypatch.setattr(PartedFile, "add", add)
    assert main(["predict", model, "--input", "in.txt", "--output", "out.txt"]) == 1
    assert "error: zlpr predict: out of memory (" in capsys.readouterr().err
    monkeypatch.setattr(PartedFile, "add", whole)
    again = ["--input", str(tmp_path / "in.txt"), "--output", "out.txt", "--batch_size", "2"]
    assert main(["predict", model, *again]) == 0
    assert "20 rows (6 by an earlier run)" in capsys.readouterr().out
    assert len(Path("out.txt").read_text().splitlines()) == 20


def test_columns_of_the_input_are_never_replaced(model: str, tmp_path: Path) -> None:
    rows = [{"text": "red", "predicted_scores": "mine"}, {"text": "blue"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out.jsonl"
    assert (
        main(["predict", model, "--input", str(tmp_path / "in.jsonl"), "--output", str(output)])
        == 0
    )
    (bad,) = map(json.loads, (tmp_path / "out.jsonl.bad.jsonl").read_text().splitlines())
    assert bad["reason"] == "has a column 'predicted_scores' already"
    assert bad["content"] == rows[0]


def write_parquet(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def test_cells_without_a_json_type_are_written(model: str, tmp_path: Path) -> None:
    times = [[datetime.datetime(2026, 1, 2)]]
    write_parquet(tmp_path / "in.parquet", text=["red"], times=times)
    command = ["predict", model, "--input", str(tmp_path / "in.parquet")]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    assert "2026-01-02 00:00:00" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.json", b'[\n"red"]', "row 1: expected an object"),
        ("in.csv", "größe,text\n1,red\n".encode("latin-1"), "line 1: expected UTF-8 text"),
        ("in.tsv", "größe\ttext\n1\tred\n".encode("latin-1"), "line 1: expected UTF-8 text"),
    ],
)
def test_unreadable_input_is_one_line(
    name: str,
    content: bytes,
    message: str,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_bytes(content)
    before = files_of(tmp_path)
    command = ["predict", model, "--input", str(tmp_path / name), "--output"]
    assert main([*command, str(tmp_path / "out.jsonl")]) == 2
    assert message in capsys.readouterr().err
    assert files_of(tmp_path) == before


def test_damaged_parquet_page_is_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.parquet"
    write_parquet(path, text=[f"red {i} sky" for i in range(5000)])
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)
    command = ["predict", model, "--input", str(path), "--output", str(tmp_path / "out.jsonl")]
    assert main(command) == 2
    assert "not a readable Parquet file" in capsys.readouterr().err


def test_status_is_1_if_no_row_could_be_labelled(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": 1}\n' * 3)
    command = ["predict", model, "--input", str(tmp_path / "in.jsonl")]
    assert main([*command, "--output", str(tmp_path / "out.jsonl")]) == 1


def test_closed_pipe_ends_without_traceback(model: str, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("red sky\n" * 5000)
    code = f"import sys; from zlpr_hf.cli.main import main; sys.exit(main(['predict', {model!r}, "
    code += f"'--input', {str(path)!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141


RISKY = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_spreadsheet_safe_puts_an_apostrophe_before_formulas(
    name: str, model: str, tmp_path: Path
) -> None:
    """Column names are protected too; numbers and other texts do not change."""
    rows = [{"text": f"red {text}", "=note": text} for text in [*RISKY, "a=1", "", "'x"]]
    source = tmp_path / "in.csv"
    with source.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "=note"])
        writer.writeheader()
        writer.writerows(rows)
    found = {}
    for title, more in (("plain", []), ("safe", ["--spreadsheet_safe"])):
        output = tmp_path / title / name
        output.parent.mkdir()
        command = ["predict", model, "--input", str(source), "--output", str(output), "--logits"]
        assert main([*command, *more]) == 0
        with output.open(newline="") as stream:
            delimiter = "," if name.endswith("csv") else "\t"
            found[title] = list(csv.DictReader(stream, delimiter=delimiter))
    assert [row["=note"] for row in found["plain"]] == [row["=note"] for row in rows]
    assert [row["'=note"] for row in found["safe"]] == [
        *(f"'{text}" for text in RISKY), "a=1", "", "'x",
    ]  # fmt: skip
    for plain, safe in zip(found["plain"], found["safe"], strict=True):
        safe["=note"] = safe.pop("'=note")
        assert {key: value for key, value in safe.items() if key != "=note"} == {
            key: value for key, value in plain.items() if key != "=note"
        }
    assert any(row["logit:blue"].startswith("-") for row in found["safe"])


def test_spreadsheet_safe_covers_labels_and_only_csv_and_tsv() -> None:
    writer = RowWriter("csv", pa.schema([]), ["=cmd()", "b"], logits=False, spreadsheet_safe=True)
    row = {LABELS: ["=cmd()", "b"], SCORES: [0.9, 0.8]}
    assert writer.render([row]) == b"'=cmd();b,0.9;0.8\n"
    with pytest.raises(InputError, match="spreadsheet_safe: only for csv and tsv, got jsonl"):
        RowWriter("jsonl", None, ["a"], spreadsheet_safe=True)
