"""Two processes do what one does: gradients, weights, metrics, files; one of them speaks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zlpr_hf
from tests.conftest import run
from tests.several_processes import CASES, EVALUATED, LABELS, make_rows, run_case
from zlpr_hf import Report, ZLPRLoss
from zlpr_hf.cli import main
from zlpr_hf.data.sampler import SharedBatchSampler

REPOSITORY = Path(zlpr_hf.__file__).parent.parent
TORCHRUN = ["torch.distributed.run", "--nproc_per_node=2"]


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    """Start a module of launchers and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 11, 16])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_are_the_batches_of_one_process(rows: int, processes: int, drop_last: bool) -> None:
    order = list(range(100, 100 + rows))
    whole = [order[start : start + 4 * processes] for start in range(0, rows, 4 * processes)]
    if drop_last:
        whole = [batch for batch in whole if len(batch) == 4 * processes]
    samplers = [
        SharedBatchSampler(order, 4, drop_last, num_processes=processes, process_index=index)
        for index in range(processes)
    ]
    shares = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(whole)] * processes
    for step, batch in enumerate(whole):
        taken = [row for share in shares for row in share[step]]
        spare = len(taken) - len(batch)
        assert set(taken) == set(batch)
        assert max(len(share[step]) for share in shares) <= 4
        ends = [sampler.ends_without_a_row for sampler in samplers]
        assert spare == (sum(ends) if step == len(whole) - 1 else 0)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases on two processes, in one start; what the main process found."""
    folder = tmp_path_factory.mktemp("two")
    started = launch(*TORCHRUN, "-m", "tests.several_processes", str(folder))
    assert started.returncode == 0, started.stderr
    found: dict[str, Any] = torch.load(folder / "process-0.pt", weights_only=False)
    other = torch.load(folder / "process-1.pt", weights_only=False)
    for name in CASES:
        torch.testing.assert_close(other[name], found[name], atol=0, rtol=0, equal_nan=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does(name: str, two: dict[str, Any], tmp_path: Path) -> None:
    one = run_case(CASES[name], tmp_path, 1)
    assert len(one["gradients"]) == len(two[name]["gradients"]) > 0
    torch.testing.assert_close(two[name], one, atol=1e-6, rtol=1e-5, equal_nan=True)
    assert max(gradient.abs().max() for gradient in one["gradients"][0].values()) > 1e-2


@pytest.mark.slow
def test_loss_of_evaluation_is_the_mean_over_rows(two: dict[str, Any]) -> None:
    targets = torch.tensor(make_rows(EVALUATED, 1)["flags"][:])
    assert targets.shape == (EVALUATED, LABELS)
    expected = ZLPRLoss()(torch.from_numpy(two["uneven"]["predictions"]), targets)
    assert two["uneven"]["metrics"]["eval_loss"] == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_going_on_in_the_middle_of_an_epoch(sampling: str, two: dict[str, Any]) -> None:
    whole, resumed = two[f"resumed {sampling}"]
    torch.testing.assert_close(resumed, whole, atol=0, rtol=0)


def files_of(folder: Path) -> set[str]:
    """Without the states of random numbers, of which every process has its own."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if not path.name.startswith("rng_state")}


@pytest.mark.slow
def test_a_launched_run_is_that_of_one_process(command: list[str], tmp_path: Path) -> None:
    more = ["--dropout=0", "--num_train_epochs=3", "--tune_thresholds=global"]
    config = ["--config_file", "configs/accelerate/cpu.yaml", "--main_process_port", "0"]
    shared = tmp_path / "two"
    started = launch(
        "accelerate.commands.launch", *config, "train.py", *command, *more,
        f"--output_dir={shared}", "--per_device_train_batch_size=4",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    expected = run(command, tmp_path / "one", *more)
    found = Report.load(shared / "results.json")
    assert found.training["processes"] == 2
    assert found.training["steps"] == expected.training["steps"]
    assert found.training["train_loss"] == pytest.approx(expected.training["train_loss"], rel=1e-6)
    for numbers in ("test", "validation"):
        one, two = getattr(expected, numbers), getattr(found, numbers)
        assert json.dumps(one.keys() ^ two.keys(), default=list) == "[]"
        for name, value in one.items():
            assert two[name] == pytest.approx(value, rel=1e-5, nan_ok=True), name
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-6, rtol=1e-5)
    assert files_of(shared) == files_of(tmp_path / "one")
    assert started.stdout.count("written to ") == 1
    assert started.stdout.count("Data: ") <= 1
    bars = re.findall(r"tokenise train: *100%", started.stderr)
    assert len(bars) <= 1


@pytest.mark.slow
def test_what_fails_in_one_process_ends_all(command: list[str], tmp_path: Path) -> None:
    """The main process cannot write its page; the other one waits for it, but not for ever."""
    (tmp_path / "report.html").mkdir()
    started = launch(
        *TORCHRUN, "train.py", *command, f"--output_dir={tmp_path}", "--num_train_epochs=1",
        "--save_strategy=no",
    )  # fmt: skip
    assert started.returncode != 0
    assert "IsADirectoryError" in started.stderr


@pytest.mark.slow
def test_wrong_input_is_said_once(command: list[str], tmp_path: Path) -> None:
    started = launch(
        *TORCHRUN, "train.py", *command, f"--output_dir={tmp_path}", "--train_file=none.csv"
    )
    assert started.returncode != 0
    assert started.stderr.count("error: ") == 1
    assert "none.csv" in started.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["evaluate", "export", "push", "demo"])
def test_what_one_process_does_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main([name, "model"]) == 2
    assert capsys.readouterr().err == (
        f"error: zlpr {name}: expected one process, got 2 (WORLD_SIZE); call it without torchrun "
        "or accelerate launch\n"
    )
