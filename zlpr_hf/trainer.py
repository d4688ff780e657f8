"""ZLPRTrainer: transformers' Trainer with a multi-label loss that is exact under accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer, TrainingArguments

from zlpr_hf.data.sampler import EpochLengthGroupedSampler
from zlpr_hf.losses import LOSSES, build_loss
from zlpr_hf.metrics import compute_multi_label_metrics

# What transformers takes and then fails on, in the middle of a run and with a trace.
RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, 1e6),
    "head_learning_rate": (0.0, 1e6),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "num_train_epochs": (1e-6, math.inf),
    "seed": (0, 2**32 - 1),
    "data_seed": (0, 2**32 - 1),
}


@dataclass
class ZLPRTrainingArguments(TrainingArguments):
    """TrainingArguments with the few that multi-label fine-tuning needs besides.

    Args:
        loss: A name in :data:`zlpr_hf.losses.LOSSES`.
        head_learning_rate: Learning rate of everything outside the encoder. None means ten times
            ``learning_rate``: a fresh head on a small encoder learns far too slowly at its rate.
        bf16: None means yes where the processor computes bfloat16 natively. Evaluation is always
            in float32, so that reported decisions are those of the saved model.

    Example:
        >>> ZLPRTrainingArguments(output_dir="out", learning_rate=1e-4).head_learning_rate
        0.001
    """

    loss: str = field(
        default="zlpr", metadata={"help": f"Loss to train with: {', '.join(sorted(LOSSES))}."}
    )
    head_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Learning rate of the classification head; default 10 x learning_rate."},
    )
    bf16: bool | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Train in bfloat16 autocast; default: where the hardware has it."},
    )

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            build_loss(self.loss)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value:g}")
        # TrainingArguments takes bf16 on a processor only from those who say that they mean one.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and _has_bfloat16(self.use_cpu)
        if self.head_learning_rate is None:
            self.head_learning_rate = 10 * self.learning_rate
        super().__post_init__()  # type: ignore[no-untyped-call]


def _has_bfloat16(use_cpu: bool) -> bool:
    if use_cpu:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


class ZLPRTrainer(Trainer):
    """Trainer that computes a multi-label loss from logits and targets.

    Targets are taken from ``labels``: bool, integer or floating, hard or soft, ``-100`` or NaN
    where unknown. The loss is summed over examples and divided by the number of examples of the
    whole optimizer step, on all processes: 8 x 1, 4 x 2 and 2 x 4 (batch x accumulation) give the
    same gradient, also for an uneven last step. Logits are cut at zero for the metrics.

    Args:
        *args: As for ``transformers.Trainer``.
        loss: A module called with ``(logits, targets)`` that returns ``(B,)`` or the mean over the
            batch; without it the one that ``args.loss`` names.
        **kwargs: As for ``transformers.Trainer``; without ``compute_metrics`` all multi-label
            metrics are computed.
    """

    def __init__(self, *args: Any, loss: nn.Module | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("compute_metrics", compute_trainer_metrics)
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError(
                "compute_loss_func is for a Trainer of your own; here give loss=MODULE"
            )
        super().__init__(*args, **kwargs)
        self.label_names = ["labels"]
        # The loss is divided by the examples of the whole step (see `_get_num_items_in_batch`).
        self.loss_is_scaled_for_ga = True
        name = getattr(self.args, "loss", "zlpr")
        self.loss = loss if loss is not None else build_loss(name, reduction="none")
        self.loss.to(self.args.device)
        config: Any = getattr(self.model, "config", None)
        if config is not None:
            config.problem_type = "multi_label_classification"
            stored = getattr(config, "zlpr", None) or {}
            config.zlpr = stored | {"loss": name if loss is None else type(loss).__name__}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Loss of a batch, as its share of the mean over the whole optimizer step.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch with ``labels`` ``(B, L)``.
            return_outputs: Whether to return the model's outputs too.
            num_items_in_batch: Number of examples in the step; None for this batch alone.

        Returns:
            The loss, or the loss and the outputs.

        Raises:
            ValueError: If the batch has no ``labels``.
        """
        inputs = dict(
            inputs
        )  # the model must not see the labels, the caller's batch must keep them
        targets = inputs.pop("labels", None)
        if targets is None:
            raise ValueError(
                f"the batch has no 'labels', only {', '.join(inputs)}; expected multi-hot (B, L)"
            )
        outputs = model(**inputs, return_dict=True)
        value = self.loss(outputs.logits, targets)
        if value.ndim > 1 or (value.ndim == 1 and len(value) != len(targets)):
            raise ValueError(
                f"the loss must return one value an example ({len(targets)},) or their mean, "
                f"got the shape {tuple(value.shape)}"
            )
        total = value.sum() if value.ndim else value * len(targets)
        if num_items_in_batch is None:
            loss = total / len(targets)
        else:
            # Gradients are averaged over processes, the count is over all of them.
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _get_num_items_in_batch(
        self, batch_samples: list[Any], device: torch.device
    ) -> Tensor | int | None:
        """Number of examples in the batches of one optimizer step, over all processes."""
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        count = torch.tensor(sum(len(batch["labels"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(count).sum()  # type: ignore[no-any-return]

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        if "label_values" not in columns:
            columns.append("label_values")

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        column = self.args.length_column_name
        grouped = self.args.train_sampling_strategy == "group_by_length"
        if not grouped or column not in (getattr(dataset, "column_names", None) or ()):
            return super()._get_train_sampler(train_dataset)
        return EpochLengthGroupedSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            lengths=dataset[column],
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # The stock sampler shuffles evaluation rows under group_by_length, and so the predictions.
        if self.args.world_size <= 1:
            return torch.utils.data.SequentialSampler(eval_dataset)
        return None

    def prediction_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Evaluate in full precision: decisions near zero must be those of the saved model."""
        with _without_autocast(self.accelerator.unwrap_model(model)):
            return super().prediction_step(model, *args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Give the parameters outside the encoder a learning rate of their own."""
        made_here = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = getattr(self.args, "head_learning_rate", None)
        if not made_here or rate is None:
            return optimizer
        module: Any = self.accelerator.unwrap_model(model if model is not None else self.model)
        if not hasattr(
            module, "base_model"
        ):  # not a model of transformers: no encoder to tell apart
            return optimizer
        encoder = {id(parameter) for parameter in module.base_model.parameters()}
        for group in list(optimizer.param_groups):
            head = [parameter for parameter in group["params"] if id(parameter) not in encoder]
            group["params"] = [
                parameter for parameter in group["params"] if id(parameter) in encoder
            ]
            if head:
                optimizer.add_param_group({**group, "params": head, "lr": rate})
        return optimizer


@contextmanager
def _without_autocast(model: Any) -> Iterator[None]:
    """Undo accelerate's autocast wrapper around ``forward`` for a while."""
    wrapped = model.__dict__.get("forward")
    original = model.__dict__.get("_original_forward")
    if wrapped is None or original is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = wrapped


def compute_trainer_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Multi-label metrics of logits cut at zero, in the form that ``Trainer`` asks for."""
    return compute_multi_label_metrics(prediction.predictions, prediction.label_ids)


def build_compute_loss_func(name: str = "zlpr") -> Callable[..., Tensor]:
    """A ``compute_loss_func`` for people who keep their own Trainer.

    Args:
        name: A name in :data:`zlpr_hf.losses.LOSSES`.

    Returns:
        A function of ``(outputs, labels, num_items_in_batch)`` to pass to
        ``transformers.Trainer(compute_loss_func=...)``. The stock Trainer counts label cells, of
        which an example has ``L``; the function turns that into examples, so every label must be
        known.

    Example:
        >>> from types import SimpleNamespace
        >>> loss = build_compute_loss_func("zlpr")
        >>> loss(SimpleNamespace(logits=torch.zeros(1, 3)), torch.tensor([[1, 0, 0]]))
        tensor(1.7918)
    """
    loss = build_loss(name, reduction="none")

    def compute_loss_func(
        outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        per_example: Tensor = loss(outputs.logits, labels)
        if num_items_in_batch is None:
            return per_example.mean()
        return per_example.sum() / (num_items_in_batch / labels.shape[-1])

    return compute_loss_func
