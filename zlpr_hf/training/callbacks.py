"""One line an evaluation instead of every metric there is."""

from __future__ import annotations

from typing import Any

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

LOGGED_METRICS = {
    "loss": "loss",
    "eval_loss": "validation loss",
    "eval_f1_micro": "F1 micro",
    "eval_f1_macro": "F1 macro",
    "eval_subset_accuracy": "subset accuracy",
}


class BriefProgress(ProgressCallback):
    """transformers' progress bar with log lines that fit on one line; the log keeps all metrics."""

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
        """Leave the bar as it stands, so that what is printed next starts a line."""
        if self.training_bar is not None:
            self.training_bar.close()
