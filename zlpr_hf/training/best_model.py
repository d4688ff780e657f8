"""The checkpoint that a run keeps, and when it stops: the best one, or a later one as good."""

from __future__ import annotations

import math
from typing import Any, Literal

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

BestModelRule = Literal["best", "one_standard_error"]


def is_as_good(value: float, best: float, rows: int, *, greater_is_better: bool) -> bool:
    """Whether a share is within one binomial standard error of the best, over ``rows`` rows.

    Values outside [0, 1], such as a loss, have no such error and must be at least as good.
    """
    share = min(max(best, 0.0), 1.0)
    error = math.sqrt(share * (1 - share) / rows) if share == best and rows else 0.0
    return value >= best - error if greater_is_better else value <= best + error


class EarlyStopping(EarlyStoppingCallback):
    """Stops after several evaluations in a row that are not as good as the best one.

    ``rows`` is the number of evaluated rows; with 0, every evaluation must improve on the best.
    """

    def __init__(self, patience: int, rows: int) -> None:
        super().__init__(patience)
        self.rows = rows

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Count the evaluations before an interruption again, so that a resumed run stops alike."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        self.early_stopping_patience_counter = 0
        name = f"eval_{(args.metric_for_best_model or '').removeprefix('eval_')}"
        values = [float(entry[name]) for entry in state.log_history if name in entry]
        best: float | None = None
        for value in values:
            self._count(value, best, greater_is_better=bool(args.greater_is_better))
            better = max if args.greater_is_better else min
            best = value if best is None else better(best, value)

    def check_metric_value(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metric_value: float,
    ) -> None:
        """Count evaluations that are clearly worse."""
        greater = bool(args.greater_is_better)
        self._count(metric_value, state.best_metric, greater_is_better=greater)

    def _count(self, value: float, best: float | None, *, greater_is_better: bool) -> None:
        if best is None or (value > best if greater_is_better else value < best):
            good = True
        else:
            good = self.rows > 0 and is_as_good(
                value, best, self.rows, greater_is_better=greater_is_better
            )
        self.early_stopping_patience_counter = (
            0 if good else self.early_stopping_patience_counter + 1
        )
