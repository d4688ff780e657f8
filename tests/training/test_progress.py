"""Progress of a run: one line per evaluation, the best one marked; a bar on terminals only."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from zlpr_hf.training import progress
from zlpr_hf.training.progress import LiveBar, TrainingProgress


def run_epochs(
    tmp_path: Path, evaluations: list[dict[str, float]], losses: list[list[float]], **options: Any
) -> TrainingProgress:
    """Call back as a trainer does in epochs of four steps."""
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)
    state = TrainerState(max_steps=4 * len(losses), num_train_epochs=len(losses), epoch=0.0)
    control, callback = TrainerControl(), TrainingProgress()
    callback.on_train_begin(args, state, control)
    for epoch, logged in enumerate(losses):
        for step in range(4):
            state.global_step += 1
            state.epoch = epoch + (step + 1) / 4
            callback.on_step_end(args, state, control)
            if len(logged) == 4:
                callback.on_log(args, state, control, logs={"loss": logged[step]})
        if len(logged) == 1:
            callback.on_log(args, state, control, logs={"loss": logged[0]})
        if evaluations:
            for _ in range(2):
                callback.on_prediction_step(args, state, control, eval_dataloader=[1, 2])
            callback.on_log(args, state, control, logs=evaluations[epoch])
            callback.on_evaluate(args, state, control, metrics=evaluations[epoch])
    callback.on_train_end(args, state, control)
    return callback


def metrics(loss: float, micro: float, macro: float) -> dict[str, float]:
    return {"eval_loss": loss, "eval_f1_micro": micro, "eval_f1_macro": macro}


def test_one_line_per_epoch_marks_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations = [metrics(1.5, 0.7, 0.5), metrics(1.1, 0.816, 0.6), metrics(1.2, 0.8, 0.61)]
    run_epochs(
        tmp_path, evaluations, [[1, 1, 2, 2], [1.0], [0.5]],
        eval_strategy="epoch", metric_for_best_model="f1_micro",
    )  # fmt: skip
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.split("  ") for line in captured.err.splitlines()]
    assert [line[:-1] for line in lines] == [
        ["epoch 1/3", "loss 1.50", "val loss 1.50", "F1 micro 0.700", "macro 0.500", "best"],
        ["epoch 2/3", "loss 1.00", "val loss 1.10", "F1 micro 0.816", "macro 0.600", "best"],
        ["epoch 3/3", "loss 0.50", "val loss 1.20", "F1 micro 0.800", "macro 0.610"],
    ]
    assert all(line[-1] == "0:00" for line in lines)


def test_lower_loss_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluations = [metrics(1.5, 0.7, 0.5), metrics(1.6, 0.8, 0.6)]
    run_epochs(
        tmp_path, evaluations, [[1.0], [0.9]],
        eval_strategy="epoch", metric_for_best_model="loss",
    )  # fmt: skip
    assert ["best" in line for line in capsys.readouterr().err.splitlines()] == [True, False]


def test_without_evaluation_the_loss_is_printed_once_an_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_epochs(tmp_path, [], [[4, 3, 2, 1], [1, 1, 1, 1]])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["epoch 1/2", "loss 2.50"], ["epoch 2/2", "loss 1.00"],
    ]  # fmt: skip


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        return True


def test_bar_appears_late_and_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    bar = LiveBar()
    bar.update("epoch 1/3", 1, 10)
    bar.close()
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    bar.update("epoch 1/3", 2, 10, "loss 0.95")
    bar.close()
    assert "2/10" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is erased


def test_no_bar_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    bar = LiveBar()
    bar.update("epoch 1/3", 2, 10)
    bar.close()
    assert capsys.readouterr().err == ""
