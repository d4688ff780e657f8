"""zlpr predict in several processes writes the same file as a single one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zlpr_hf.cli.main import main
from zlpr_hf.distributed import Processes

REPOSITORY = Path(__file__).parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]


def start(model: str, path: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    """Start two processes that label a file together."""
    options = ["--input", str(path), "--output", str(output), *more]
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, "zlpr_hf.cli", "predict", model, *options],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def write_rows(path: Path, count: int) -> None:
    """Write rows; every fifth one cannot be labelled."""
    rows = [{"id": i, "text": "red sky" if i % 5 else 3} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any]) -> str:
    return str(finished[0])


@pytest.mark.slow
def test_killed_processes_are_resumed_by_one_with_identical_output(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "in.jsonl", tmp_path / "two.jsonl"
    write_rows(path, 12_000)
    options = ["--input", str(path), "--output"]
    assert main(["predict", model, *options, str(tmp_path / "one.jsonl")]) == 0
    process = start(model, path, output)
    parts = tmp_path / "two.jsonl.parts"
    while len(list(parts.glob("*.part"))) < 2 and process.poll() is None:
        time.sleep(0.005)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=60)
    left = len(list(parts.glob("*.part")))
    assert 2 <= left < 12
    capsys.readouterr()
    assert main(["predict", model, *options, str(output)]) == 0
    assert "by an earlier run" in capsys.readouterr().out
    for suffix in ("", ".bad.jsonl"):
        whole = (tmp_path / f"one.jsonl{suffix}").read_bytes()
        assert (tmp_path / f"two.jsonl{suffix}").read_bytes() == whole
    assert not parts.exists()


@pytest.mark.slow
def test_both_processes_label_and_one_prints(model: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    write_rows(path, 3000)
    process = start(model, path, tmp_path / "two.jsonl")
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert printed.count("3,000 rows") == 1
    assert printed.count("600 of them left out") == 1
    assert (
        main(["predict", model, "--input", str(path), "--output", str(tmp_path / "o.jsonl")]) == 0
    )
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "o.jsonl").read_bytes()


@pytest.mark.slow
def test_strict_stops_both_processes_with_one_line_and_no_files(model: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"text": "red"}\n' * 1500 + '{"text": 3}\n'
    )  # in the part of the second process
    process = start(model, path, tmp_path / "out.jsonl", "--strict")
    _, errors = process.communicate(timeout=100)
    assert process.returncode != 0
    found = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert found == [f"error: {path}, row 1501: column 'text': expected a text, got 3"]
    assert [each.name for each in tmp_path.iterdir()] == ["in.jsonl"]


def test_processes_that_resume_in_turn_label_every_part(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes, one after the other, resume a run with some complete parts."""
    from zlpr_hf.data.row_reader import RowReader
    from zlpr_hf.inference import label_file as labelling
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.parted_file import PartedFile
    from zlpr_hf.inference.row_writer import RowWriter

    monkeypatch.setattr(labelling, "PART_CHARACTERS", 20)  # three rows per part
    path = tmp_path / "in.txt"
    path.write_text("red sky\n" * 32)
    classifier = Classifier.load(model)
    reader = RowReader(str(path), "lines", text_columns=["text"])
    writer = RowWriter("lines", reader.schema, classifier.label_space.names)
    output = PartedFile(tmp_path / "out.txt", {}, overwrite=False)
    assert output.open() == set()
    how, written = labelling.LabellingOptions(), []
    done = {1, 2, 6}
    for number in done:
        output.add(number, b"earlier\n" * 3, [])
    add = PartedFile.add
    monkeypatch.setattr(
        PartedFile,
        "add",
        lambda self, number, *more: (written.append(number), add(self, number, *more)),
    )
    for rank in range(3):
        counts = labelling.label_file(
            classifier, reader, writer, output, how, done, Processes(rank, 3)
        )
        assert (counts.rows, counts.bad, counts.earlier) == (32, 0, 9)
    assert written == [0, 5, 9, 3, 7, 10, 4, 8]
    output.finish(writer.join)
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [number for number, line in enumerate(lines) if line == "earlier"] == [
        3, 4, 5, 6, 7, 8, 18, 19, 20
    ]  # fmt: skip
    assert len(lines) == 32


@pytest.mark.parametrize("files", [["--output", "out.jsonl"], ["--input", "in.txt"]])
def test_standard_input_and_output_require_one_process(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = classmethod(lambda kind: Alone(0, 2))
    monkeypatch.setattr(Processes, "join", alone)
    assert main(["predict", "model", *files]) == 2
    assert "2 processes label a file together: give --input FILE" in capsys.readouterr().err


class Alone(Processes):
    """One of several processes; the others have nothing to gather."""

    def gather(self, value: Any) -> list[Any]:
        return [value]
