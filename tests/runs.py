"""Training runs of a few seconds, and the refusal of runs and plans that cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import zlpr_hf
from train import main
from zlpr_hf import Report
from zlpr_hf.cli.main import main as zlpr
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.finetune import finetune_config

REPOSITORY = Path(zlpr_hf.__file__).parent.parent
TORCHRUN = "torch.distributed.run"
FAST = [
    "--num_train_epochs=12", "--per_device_train_batch_size=8", "--learning_rate=5e-3",
    "--head_learning_rate=1e-2", "--pooling=mean",
    "--max_length=16", "--train_sampling_strategy=group_by_length", "--save_strategy=steps",
    "--save_steps=5", "--save_total_limit=9", "--logging_strategy=epoch", "--test_size=0.25",
    "--bf16=false", "--folds=0",
]  # fmt: skip


def run(argv: list[str], folder: Path, *more: str) -> Report:
    """Fine-tune without printing."""
    config = parse_arguments([*argv, f"--output_dir={folder}", *more])
    return finetune_config(config, log=lambda text: None)


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    """Start a module of launchers and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def check_refused(
    argv: list[str], folder: Path, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``train.py`` ends with one line that says why, and has written nothing."""
    assert main([*argv, f"--output_dir={folder}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not folder.exists()


def write_plan(folder: Path, content: dict[str, Any]) -> str:
    """Write the plan of a comparison, whose results go to ``out`` in the same folder."""
    path = folder / "plan.yaml"
    content = {"output_dir": str(folder / "out")} | content
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def check_plan_refused(
    content: dict[str, Any], folder: Path, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``zlpr compare`` ends with one line that says why, and has written nothing."""
    assert zlpr(["compare", write_plan(folder, content), "--no_plots"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (folder / "out").exists()
