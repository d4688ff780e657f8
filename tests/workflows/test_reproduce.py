"""Provenance and zlpr reproduce: identical bits, and a report of differences."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from tests.runs import run
from zlpr_hf import ZLPRTrainer
from zlpr_hf.cli.main import main
from zlpr_hf.data.dataset import HASHED_ROWS, fingerprint
from zlpr_hf.reports.provenance import find_revision
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.reproduce import Reproduction, _torch_threads

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def copy(finished: tuple[Path, Any], tmp_path: Path) -> Path:
    """The records of the finished run, to be changed."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("results.json", "train_config.yaml"):
        shutil.copy(finished[0] / name, folder)
    return folder


def change(folder: Path, *keys: str, value: Any) -> None:
    path = folder / "results.json"
    results = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(results))


def test_results_contain_the_provenance(finished: tuple[Path, Any]) -> None:
    folder, report = finished
    found = json.loads((folder / "results.json").read_text())["provenance"]
    weights = (folder / "model.safetensors").read_bytes()
    assert found["weights"] == {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    assert set(found["data"]) == {"train", "validation", "test"}
    assert found["threads"] == 1
    assert found["device"] == "cpu"
    assert all(found[name] for name in ("system", "processor"))
    assert report.provenance.data == found["data"]


def test_fingerprint_depends_on_the_rows_but_not_on_their_storage(tmp_path: Path) -> None:
    count = HASHED_ROWS + 100
    rows = [{"text": f"{i} é", "label_ids": [i % 3], "label_values": [0.1]} for i in range(count)]
    whole = Dataset.from_list(rows)
    part = Dataset.from_list([rows[1], *rows, rows[0]]).select(range(1, count + 1))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"))
    assert fingerprint({"a": whole}) == fingerprint({"a": part}) == fingerprint({"a": read})
    first, *rest = rows
    for changed in (
        [first | {"text": "0 e"}, *rest],
        [first | {"label_ids": [1]}, *rest],
        [first | {"label_values": [0.2]}, *rest],
        [*rest, first],
        rest,
    ):
        assert fingerprint({"a": Dataset.from_list(changed)}) != fingerprint({"a": whole})


def test_revision_is_the_commit_of_the_sources(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    source = tmp_path / "package"
    source.mkdir()
    assert find_revision(source) is None
    git("init", "-q")
    (source / "__init__.py").write_text("")
    assert find_revision(source) is None, "it lies in a repository, but is no part of it"
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "notes.txt").write_text("beside the sources")
    assert find_revision(source) == git("rev-parse", "HEAD")
    (source / "new.py").write_text("")
    assert find_revision(source) == git("rev-parse", "HEAD") + "+changes"


@pytest.mark.slow
def test_same_seed_gives_the_same_bits_in_another_process(
    finished: tuple[Path, Any], command: list[str], tmp_path: Path
) -> None:
    folder, report = finished
    argv = [
        "-m",
        "zlpr_hf.cli",
        "reproduce",
        str(folder),
        f"--output_dir={tmp_path / 'again'}",
    ]
    done = subprocess.run(
        [sys.executable, *argv], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("weights: equal\nequal bit for bit\n")
    weights = (folder / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["validation"] == report.validation
    assert again["test"] == report.test
    run(command, tmp_path / "other", "--seed=7")
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != weights


@pytest.mark.slow
def test_different_numbers_are_reported(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, "test", MODEL_ROW, "f1_micro", value=0.25)
    change(copy, "versions", "torch", value="1.0")
    change(copy, "provenance", "data", "test", value="0" * 64)
    assert main(["reproduce", str(copy), "--any_data"]) == 1
    printed = capsys.readouterr().out
    assert "note: the data has changed (test)" in printed
    assert "note: torch was 1.0, is " in printed
    assert "weights: equal" in printed
    row = next(line for line in printed.splitlines() if line.startswith("test f1_micro "))
    assert row.split()[2] == "0.25"
    assert printed.endswith("\ndifferent\n")


def test_verdict_depends_on_the_tolerance() -> None:
    def verdict(now: dict[str, float], same: bool, tolerance: float | None) -> tuple[str, bool]:
        found = Reproduction({"a": 0.5, "b": float("nan")}, now, same, tolerance)
        return found.render().splitlines()[-1].split(":")[0], found.succeeded

    nan = float("nan")
    assert verdict({"a": 0.5, "b": nan}, True, None) == ("equal bit for bit", True)
    assert verdict({"a": 0.5, "b": nan}, False, None) == ("different", False)
    assert verdict({"a": 0.5, "b": nan}, False, 0.0) == ("within tolerance", True)
    assert verdict({"a": 0.75, "b": nan}, False, 0.25) == ("within tolerance", True)
    assert verdict({"a": 0.75, "b": nan}, True, 0.2) == ("different", False)
    assert verdict({"a": 0.5}, True, 1.0) == ("different", False)
    assert verdict({"a": 0.5, "b": 0.5}, True, 1.0) == ("different", False)


def test_run_that_cannot_be_reproduced_is_one_line(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str) -> None:
        assert main(["reproduce", str(copy)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert message in lines[0]
        assert not copy.with_name("run-reproduced").exists()

    results = (copy / "results.json").read_text()
    change(copy, "provenance", "data", "train", value="0" * 64)
    refused("the data has changed (train); --any_data")
    change(copy, "provenance", value=None)
    refused("no provenance")
    (copy / "results.json").write_text(results[:100])
    refused("results.json: not JSON")
    (copy / "results.json").write_text(results)
    (copy / "train_config.yaml").unlink()
    refused("train_config.yaml is missing")
    assert main(["reproduce", str(copy), "--tolerance=-1"]) == 2
    assert "tolerance: expected 0 or more" in capsys.readouterr().err


def test_number_of_torch_threads_is_restored() -> None:
    outside = torch.get_num_threads()
    inside = []
    with suppress(KeyError), _torch_threads(outside + 1):
        inside.append(torch.get_num_threads())
        raise KeyError
    assert inside == [outside + 1]
    assert torch.get_num_threads() == outside


def test_folder_with_files_is_refused_and_kept(
    finished: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    assert main(["reproduce", str(finished[0]), f"--output_dir={tmp_path}"]) == 2
    assert " exists: " in capsys.readouterr().err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


@pytest.mark.slow
def test_interrupted_repetition_resumes(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "again"
    step, count = ZLPRTrainer.training_step, iter(range(99))

    def cut(*args: Any, **kwargs: Any) -> Any:
        if next(count) == 8:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(ZLPRTrainer, "training_step", cut)
    assert main(["reproduce", str(copy), f"--output_dir={place}"]) == 130
    assert (place / "checkpoint-5").is_dir()
    monkeypatch.undo()
    assert main(["reproduce", str(copy), f"--output_dir={place}"]) == 0


@pytest.mark.slow
def test_two_processes_reproduce_a_run_of_two_processes(command: list[str], tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    place = tmp_path / "two"
    train = ["train.py", *command, f"--output_dir={place}", "--num_train_epochs=1"]
    for words in (train, ["-m", "zlpr_hf.cli", "reproduce", str(place)]):
        ended = subprocess.run(
            [*launch, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.splitlines()[-1] == "equal bit for bit"
