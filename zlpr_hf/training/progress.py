"""Progress of a run: one live line on a terminal, and one printed line per evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zlpr_hf.distributed import open_console

DELAY_SECONDS = 2.0
"""What ends sooner gets no bar."""
EPSILON = 1e-6


class LiveBar:
    """A bar on a terminal that appears after two seconds and vanishes when it is closed."""

    def __init__(self) -> None:
        self._console = open_console(stderr=True)
        self._started = time.monotonic()
        self._progress: Progress | None = None

    def update(self, title: str, done: int, total: int | None, note: str = "") -> None:
        """Show how much is done; ``note`` follows the counts."""
        if self._progress is None:
            if not self._console.is_terminal or time.monotonic() - self._started < DELAY_SECONDS:
                return
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=26),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
                refresh_per_second=2,
            )
            self._progress.add_task(title, total=total, note=note)
            self._progress.start()
        (task,) = self._progress.task_ids
        self._progress.update(task, description=title, completed=done, total=total, note=note)

    def print(self, line: Text) -> None:
        """Print a line above the bar."""
        self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class TrainingProgress(TrainerCallback):
    """Shows the steps of a training on a terminal, and prints losses and F1 per evaluation.

    Without evaluations it prints the training loss once an epoch. With a title, such as that of a
    fold, which the bar shows, it prints nothing.
    """

    def __init__(self, title: str = "") -> None:
        self._title = title
        self._bar = LiveBar()
        self._trains = False
        self._started = 0.0
        self._batches = 0
        self._losses: list[tuple[float, int]] = []
        self._logged_step = 0
        self._printed_epoch = 0.0
        self._best: float | None = None

    def close(self) -> None:
        """Remove the bar, also after an error."""
        self._bar.close()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._bar = LiveBar()
        self._trains = True
        self._started = time.monotonic()
        self._logged_step, self._losses = state.global_step, []
        self._printed_epoch = math.floor((state.epoch or 0.0) + EPSILON)
        self._best = state.best_metric

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            epochs = math.ceil(state.num_train_epochs)
            epoch = min(math.ceil((state.epoch or 0.0) - EPSILON), epochs)
            note = f"loss {render_loss_value(self._losses[-1][0])}" if self._losses else ""
            title = f"epoch {max(epoch, 1)}/{epochs}"
            title = f"{self._title}, {title}" if self._title else title
            self._bar.update(title, state.global_step, state.max_steps, note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs or not self._trains:
            return
        self._losses.append((float(logs["loss"]), max(state.global_step - self._logged_step, 1)))
        self._logged_step = state.global_step
        epoch = math.floor((state.epoch or 0.0) + EPSILON)
        if args.eval_strategy == "no" and epoch > self._printed_epoch:
            self._printed_epoch = epoch
            self._print(args, state, {})

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        if not self._trains and not self._batches:
            self._bar = LiveBar()
        self._batches += 1
        total = len(eval_dataloader) if hasattr(eval_dataloader, "__len__") else None
        self._bar.update("evaluate", self._batches, total)

    def on_predict(self, *_: Any, **__: Any) -> None:
        self._end_evaluation()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        self._end_evaluation()
        if self._trains and metrics:
            self._print(args, state, metrics)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._trains = False
        self._bar.close()

    def _end_evaluation(self) -> None:
        self._batches = 0
        if not self._trains:
            self._bar.close()

    def _print(
        self, args: TrainingArguments, state: TrainerState, metrics: dict[str, float]
    ) -> None:
        """Print losses since the last line, F1 and the time since the start."""
        losses, self._losses = self._losses, []
        if not state.is_world_process_zero or self._title:
            return
        cells = [f"epoch {round(state.epoch or 0.0, 2):g}/{state.num_train_epochs:g}"]
        if losses:
            mean = sum(loss * steps for loss, steps in losses) / sum(steps for _, steps in losses)
            cells.append(f"loss {render_loss_value(mean)}")
        if "eval_loss" in metrics:
            cells.append(f"val loss {render_loss_value(metrics['eval_loss'])}")
        if "eval_f1_micro" in metrics:
            cells.append(f"F1 micro {metrics['eval_f1_micro']:.3f}")
            cells.append(f"macro {metrics['eval_f1_macro']:.3f}")
        line = Text("  ".join(cells))
        if self._is_best(args, metrics):
            line.append("  best", style="green")
        self._bar.print(line.append(f"  {render_seconds(time.monotonic() - self._started)}"))

    def _is_best(self, args: TrainingArguments, metrics: dict[str, float]) -> bool:
        """Whether an evaluation is the best one of the run, by ``metric_for_best_model``."""
        name = args.metric_for_best_model or ""
        value = metrics.get(name if name.startswith("eval_") else f"eval_{name}")
        if value is None:
            return False
        sign = 1 if args.greater_is_better else -1
        if self._best is not None and sign * value <= sign * self._best:
            return False
        self._best = value
        return True


def close_progress(callbacks: Iterable[TrainerCallback]) -> None:
    """Remove the bars of a trainer, so that the next output starts on a line of its own."""
    for callback in callbacks:
        if isinstance(callback, TrainingProgress):
            callback.close()


def render_loss_value(loss: float) -> str:
    """Return a loss in about three digits.

    Example:
        >>> render_loss_value(0.954), render_loss_value(12.345), render_loss_value(1234.5)
        ('0.95', '12.3', '1,234')
    """
    return f"{loss:.2f}" if abs(loss) < 10 else f"{loss:.1f}" if abs(loss) < 100 else f"{loss:,.0f}"


def render_seconds(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any.

    Example:
        >>> render_seconds(30.4), render_seconds(3725)
        ('0:30', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
