"""What training costs: seconds an optimizer step, and the peak of memory."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_PEAK = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class TrainingCost(TrainerCallback):
    """Measures a run. The median over steps is not moved by what else a machine does now and then.

    Memory is that of the accelerator's allocator; on a processor the resident size of the process,
    where the system keeps its peak (Linux): data, libraries and what earlier runs left included.
    """

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._started = 0.0
        self._on_gpu = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._on_gpu = args.device.type == "cuda"
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            _RESET.write_text("5")  # starts the peak of the resident size anew
        except OSError:
            return

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._started = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
        self._durations.append(time.perf_counter() - self._started)

    def summary(self) -> dict[str, float | None]:
        """Median seconds a step and peak memory in MiB; None where it is not known."""
        return {
            "seconds_per_step": statistics.median(self._durations) if self._durations else None,
            "peak_memory_mib": (
                torch.cuda.max_memory_allocated() / 2**20 if self._on_gpu else _peak_of_process()
            ),
        }


def _peak_of_process() -> float | None:
    try:
        lines = _PEAK.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return kib[0] / 2**10 if kib else None
