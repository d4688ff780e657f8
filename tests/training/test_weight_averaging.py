"""Averaged weights: their values, and that evaluation, checkpoints and the final model use them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, TrainerCallback

from tests.training.builders import arguments, model, rows
from zlpr_hf import ZLPRTrainer
from zlpr_hf.training.checkpoints import TRAINING_WEIGHTS_FILE, find_checkpoints, find_damage

HEAD = "classifier.weight"


class Recorder(TrainerCallback):
    """Keeps the weights of the head at the start and after each step."""

    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []

    def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
        self.weights.append(model.classifier.weight.detach().double().numpy().copy())

    on_step_end = on_train_begin


def averaging(folder: Path, **changes: Any) -> ZLPRTrainer:
    settings = {"weight_averaging": "ema", "num_train_epochs": 3, "eval_strategy": "no"}
    given = arguments(folder, **(settings | changes))
    return ZLPRTrainer(model=model(), args=given, train_dataset=rows(), eval_dataset=rows())


def average_by_hand(weights: list[np.ndarray], steps_per_epoch: int) -> np.ndarray:
    average = weights[0]
    for step, now in enumerate(weights[1:], 1):
        decay = min(1 - 1 / steps_per_epoch, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * now
    return average


def test_the_model_ends_with_the_average_of_its_steps(tmp_path: Path) -> None:
    trainer, recorder = averaging(tmp_path, learning_rate=0.1), Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    assert len(recorder.weights) == 1 + 3 * 2, "three epochs of two steps"
    expected = average_by_hand(recorder.weights, 2)
    found = trainer.model.classifier.weight.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected - recorder.weights[-1]).max() > 1e-4


def test_evaluation_uses_the_average_and_training_goes_on_without_it(tmp_path: Path) -> None:
    plain = averaging(tmp_path / "plain", weight_averaging="none", learning_rate=0.1)
    evaluated = averaging(tmp_path / "evaluated", eval_strategy="epoch", learning_rate=0.1)
    recorders = [Recorder(), Recorder()]
    for trainer, recorder in zip((plain, evaluated), recorders, strict=True):
        trainer.add_callback(recorder)
        trainer.train()
    np.testing.assert_array_equal(recorders[0].weights, recorders[1].weights)
    logged = [line["eval_loss"] for line in evaluated.state.log_history if "eval_loss" in line]
    assert logged[-1] == pytest.approx(evaluated.evaluate()["eval_loss"], abs=1e-6)
    assert logged[-1] != pytest.approx(plain.evaluate()["eval_loss"], abs=1e-4)


def test_resumed_run_has_identical_weights(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
    whole = averaging(tmp_path / "whole", **settings)
    whole.train()
    first = find_checkpoints(tmp_path / "whole")[2]
    again = averaging(tmp_path / "again", **settings)
    again.train(resume_from_checkpoint=str(first))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_checkpoints_hold_the_average_and_the_weights_of_training(tmp_path: Path) -> None:
    trainer, recorder = averaging(tmp_path, save_strategy="epoch", learning_rate=0.1), Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    folder = find_checkpoints(tmp_path)[-1]
    average = BertForSequenceClassification.from_pretrained(folder).classifier.weight
    assert torch.equal(average, trainer.model.classifier.weight)
    last = load_file(folder / TRAINING_WEIGHTS_FILE)[HEAD]
    np.testing.assert_array_equal(last.double().numpy(), recorder.weights[-1])
    (folder / TRAINING_WEIGHTS_FILE).write_bytes(b"")
    assert TRAINING_WEIGHTS_FILE in (find_damage(folder) or "")


def test_the_best_model_stays(tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss"}
    times = {"eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": None}
    trainer = averaging(tmp_path, learning_rate=5.0, **best, **times)
    trainer.train()
    stored = BertForSequenceClassification.from_pretrained(trainer.state.best_model_checkpoint)
    assert torch.equal(stored.classifier.weight, trainer.model.classifier.weight)
