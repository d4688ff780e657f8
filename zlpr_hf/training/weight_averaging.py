"""Averaged weights: evaluated, saved and kept in place of those of the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zlpr_hf.training.checkpoints import TRAINING_WEIGHTS_FILE

WARM_UP_STEPS = 10
"""Early steps count for less: after n steps the decay is at most (1 + n) / (10 + n)."""


class WeightAverage(TrainerCallback):
    """Exponential moving average of the trained weights, over about one epoch of steps.

    After step ``n`` the average moves by ``1 - d`` towards the weights, with ``d`` the smaller of
    ``1 - 1 / steps per epoch`` and ``(1 + n) / (10 + n)``. Training continues from the weights of
    the last step; evaluation and checkpoints use the average, and so does the model at the end,
    unless it is that of the best checkpoint.

    References:
        Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, 1992.
        Morales-Brotons et al.: Exponential Moving Average of Weights in Deep Learning, 2024.
    """

    def __init__(self) -> None:
        self.checkpoint: Path | None = None
        self._model: nn.Module | None = None
        self._weights: list[Tensor] = []
        self._average: list[Tensor] = []
        self._steps_per_epoch = 1.0
        self._in_use = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        self._model, self._in_use = model, False
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._average = [weight.detach().float().clone() for weight in self._weights]
        self._steps_per_epoch = max(1.0, state.max_steps / max(1.0, state.num_train_epochs))
        if self.checkpoint is not None:
            load_training_weights(model, self.checkpoint)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any
    ) -> None:
        step = state.global_step
        decay = min(1 - 1 / self._steps_per_epoch, (1 + step) / (WARM_UP_STEPS + step))
        weights = [weight.detach().float() for weight in self._weights]
        torch._foreach_lerp_(self._average, weights, 1 - decay)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any
    ) -> None:
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            _copy(self._average, self._weights)
        self._model, self._weights, self._average = None, [], []

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the model the averaged weights for a while; without effect outside of training."""
        if self._in_use or self._model is None:
            yield
            return
        last = [weight.detach().clone() for weight in self._weights]
        _copy(self._average, self._weights)
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False
            _copy(last, self._weights)

    def save_training_weights(self, folder: Path) -> None:
        """Write the weights of the last step beside a model with the averaged ones."""
        if self._model is None:
            return
        named = {
            name: weight.detach().contiguous().cpu()
            for name, weight in self._model.named_parameters()
            if weight.requires_grad
        }
        save_file(named, folder / TRAINING_WEIGHTS_FILE)


def load_training_weights(model: nn.Module, checkpoint: Path) -> None:
    """Give a model that was loaded from a checkpoint the weights of the last step, if stored."""
    path = checkpoint / TRAINING_WEIGHTS_FILE
    if not path.exists():
        return
    stored = load_file(path)
    names, weights = zip(*((n, p) for n, p in model.named_parameters() if n in stored), strict=True)
    _copy([stored[name] for name in names], list(weights))


@torch.no_grad()
def _copy(values: list[Tensor], weights: list[Tensor]) -> None:
    for value, weight in zip(values, weights, strict=True):
        weight.copy_(value)
