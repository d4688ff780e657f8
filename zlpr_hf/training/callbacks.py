"""Callbacks of a run: one line of progress per evaluation, and the cost of a step."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.losses.registry import check_loss

LOGGED_METRICS = {
    "loss": "loss",
    "eval_loss": "validation loss",
    "eval_f1_micro": "F1 micro",
    "eval_f1_macro": "F1 macro",
    "eval_subset_accuracy": "subset accuracy",
}
PROCESS_STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


class BriefProgress(ProgressCallback):
    """transformers' progress bar with one line per evaluation; the log keeps all metrics."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        cells = [
            f"{title} {logs[name]:.4f}"
            for name, title in LOGGED_METRICS.items()
            if logs and name in logs
        ]
        if cells and self.training_bar is not None:
            self.training_bar.write(f"epoch {state.epoch or 0:.2f}: " + ", ".join(cells))

    def close(self) -> None:
        """Leave the bar as it is, so that the next output starts on a new line."""
        if self.training_bar is not None:
            self.training_bar.close()


class TrainingCost(TrainerCallback):
    """Measure the median duration of an optimizer step and the peak of memory.

    Memory is that of the accelerator's allocator. On a CPU it is the resident size of the process,
    data and libraries included, where the system records its peak (Linux). Training starts both
    peaks anew.
    """

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._started = 0.0
        self._on_gpu = False

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        self._on_gpu = args.device.type == "cuda"
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            RESET_PEAK.write_text("5")
        except OSError:
            return

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
        self._durations.append(time.perf_counter() - self._started)

    def summary(self) -> dict[str, float | None]:
        """Return the median seconds per step and the peak memory in MiB; None where unknown."""
        return {
            "seconds_per_step": statistics.median(self._durations) if self._durations else None,
            "peak_memory_mib": (
                torch.cuda.max_memory_allocated() / 2**20 if self._on_gpu else _peak_of_process()
            ),
        }


def _peak_of_process() -> float | None:
    try:
        lines = PROCESS_STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return kib[0] / 2**10 if kib else None


class LossOfTrial(TrainerCallback):
    """Copies the hyper-parameters of a search's trial from the arguments to the loss."""

    def __init__(self, loss: MultiLabelLoss) -> None:
        self.loss = loss

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if hasattr(args, "loss_kwargs"):
            for name, value in check_loss(args.loss, args.loss_kwargs).items():
                setattr(self.loss, name, value)
