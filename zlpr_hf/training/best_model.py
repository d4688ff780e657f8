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

    def check_metric_value(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metric_value: float,
    ) -> None:
        """Count evaluations that are clearly worse."""
        best: Any = state.best_metric
        greater = bool(args.greater_is_better)
        if not self.rows or best is None:
            super().check_metric_value(args, state, control, metric_value)  # type: ignore[no-untyped-call]
        elif is_as_good(metric_value, best, self.rows, greater_is_better=greater):
            self.early_stopping_patience_counter = 0
        else:
            self.early_stopping_patience_counter += 1
