"""The checkpoint that a run keeps, and when it stops."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.builders import arguments, model, rows
from zlpr_hf import ZLPRTrainer
from zlpr_hf.training.best_model import is_as_good

TIMES = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


class Scripted(ZLPRTrainer):
    """A trainer whose validation metric has given values, one per epoch."""

    values: list[float]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.compute_metrics = lambda prediction: {"f1_micro": self.values[self._epoch]}
        return super().evaluate(*args, **kwargs)

    @property
    def _epoch(self) -> int:
        return round(self.state.epoch or 0) - 1


def scripted(folder: Path, values: list[float], **changes: Any) -> Scripted:
    settings = {**TIMES, "metric_for_best_model": "f1_micro", "num_train_epochs": len(values)}
    given = arguments(folder, **(settings | changes))
    trainer = Scripted(model=model(), args=given, train_dataset=rows(), eval_dataset=rows())
    trainer.values = values
    return trainer


def test_one_standard_error_is_binomial() -> None:
    error = math.sqrt(0.6 * 0.4 / 50)
    assert is_as_good(0.6 - error + 1e-9, 0.6, 50, greater_is_better=True)
    assert not is_as_good(0.6 - error - 1e-9, 0.6, 50, greater_is_better=True)
    assert is_as_good(0.6 + error - 1e-9, 0.6, 50, greater_is_better=False)
    assert not is_as_good(2.01, 2.0, 50, greater_is_better=False), "a loss has no such error"


@pytest.mark.parametrize(
    ("rule", "values", "kept"),
    [
        ("best", [0.5, 0.7, 0.6, 0.65], 2),
        ("one_standard_error", [0.5, 0.7, 0.6, 0.65], 4),
        ("one_standard_error", [0.5, 0.7, 0.6, 0.1], 3),
        ("one_standard_error", [0.9, 0.82, 0.74, 0.66], 2),
    ],
)
def test_the_latest_checkpoint_as_good_as_the_best_is_kept(
    rule: str, values: list[float], kept: int, tmp_path: Path
) -> None:
    """With ten rows the error is 0.145 at 0.7 and 0.095 at 0.9; it does not add up."""
    trainer = scripted(tmp_path, values, best_model_rule=rule)
    trainer.train()
    assert trainer.state.best_global_step == 2 * kept
    assert trainer.state.best_metric == max(values)


@pytest.mark.parametrize(("rule", "stopped"), [("best", 3), ("one_standard_error", 6)])
def test_training_stops_after_evaluations_that_are_worse(
    rule: str, stopped: int, tmp_path: Path
) -> None:
    values = [0.7, 0.6, 0.65, 0.68, 0.2, 0.2, 0.2, 0.2]
    trainer = scripted(tmp_path, values, best_model_rule=rule, early_stopping_patience=2)
    trainer.train()
    assert trainer.state.epoch == stopped


def test_a_resumed_run_stops_where_the_whole_one_did(tmp_path: Path) -> None:
    values = [0.7, 0.2, 0.2, 0.7, 0.7, 0.7]
    settings = {"early_stopping_patience": 2, "save_total_limit": None}
    whole = scripted(tmp_path / "whole", values, **settings)
    whole.train()
    assert whole.state.epoch == 3
    again = scripted(tmp_path / "again", values, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert again.state.epoch == 3


def test_a_loss_must_be_lowest(tmp_path: Path) -> None:
    trainer = scripted(tmp_path, [0.5], best_model_rule="one_standard_error")
    trainer.args.metric_for_best_model = "loss"
    assert trainer._tolerant_rows() == 0


def test_early_stopping_needs_the_best_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="load_best_model_at_end"):
        arguments(tmp_path, early_stopping_patience=2)
