"""Callbacks of a run: the cost of a step, and facts for the model's configuration."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import check_loss, loss_name
from zlpr_hf.zlpr_config import ZLPRConfig

PROCESS_STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


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


class LossOfRun(TrainerCallback):
    """Records the loss in the model's configuration, and tells it the epochs of the training.

    Of a search's trial it first copies the hyper-parameters from the arguments to the loss.
    """

    def __init__(self, loss: MultiLabelLoss, args: TrainingArguments) -> None:
        self.loss = loss
        self.name = getattr(args, "loss", None)

    def on_train_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        if state.is_hyper_param_search and self.name is not None:
            if args.loss != self.name:
                raise ValueError(
                    f"loss: expected {self.name} in all trials of a search, got {args.loss}; build "
                    "one trainer per loss"
                )
            for name, value in check_loss(args.loss, args.loss_kwargs).items():
                setattr(self.loss, name, value)
        config = getattr(model, "config", None)
        if config is not None:
            record_loss(config, self.loss)

    def on_step_begin(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        self.loss.epoch = state.epoch or 0.0


class DataOfRun(TrainerCallback):
    """Records how the training data was read in the model's configuration, after the loss."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
        ZLPRConfig.update(model.config, data=self.data)


def record_loss(config: Any, loss: MultiLabelLoss) -> None:
    """Write the loss, and the meaning of the outputs under it, into a model's configuration.

    Thresholds and label sets of an earlier training go; pooling and bias belong to the model.
    """
    stored = ZLPRConfig.read(config)
    entry = ZLPRConfig(
        loss_name(loss), loss.loss_kwargs(), stored.pooling, head_bias=stored.head_bias
    )
    config.problem_type = (
        "single_label_classification" if loss.predicts_label_sets else "multi_label_classification"
    )
    if loss.label_sets is not None:
        names: Sequence[str] = [f"LABEL_{index}" for index in range(loss.label_sets.num_labels)]
        if LabelSets.from_config(config) == loss.label_sets:
            names = ZLPRConfig.read(config).labels
        space = LabelSpace(tuple(names))
        outputs = loss.label_sets.output_space(space)
        config.id2label, config.label2id = outputs.id2label, dict(outputs.label2id)
        entry = replace(entry, **loss.label_sets.to_config(space))
    entry.write(config)
