"""Objective: the value that a batch is trained on: the loss, and what is added to it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import TrainingArguments

from zlpr_hf.data.split_rows import ROW_WEIGHT
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.contrastive import TEMPERATURE, contrastive_loss
from zlpr_hf.losses.registry import loss_name, losses_with
from zlpr_hf.losses.smoothing import smooth_targets
from zlpr_hf.losses.zlpr import zlpr_divergence
from zlpr_hf.models.head import (
    classification_head,
    join_replicas,
    kept_head_inputs,
    of_last_token,
)
from zlpr_hf.training.step_trainer import columns_of

FEATURE_DROPOUT = 0.1
"""Dropout between the two feature vectors of a text in the contrastive loss."""


@dataclass(frozen=True)
class BatchLoss:
    """A batch after the forward pass.

    Args:
        outputs: Outputs of the model.
        values: Values as the loss returned them: one per row, or their mean.
        total: The objective, summed over the rows.
    """

    outputs: Any
    values: Tensor
    total: Tensor


def check_added_losses(loss: MultiLabelLoss, model: Any, arguments: Any) -> None:
    """Refuse R-Drop and a contrastive loss where they are impossible; warn if they are in vain."""
    if getattr(arguments, "rdrop_alpha", 0.0):
        _check_divergence(loss, "rdrop_alpha")
        if not any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
            warnings.warn(
                "rdrop_alpha compares two passes with different dropout, and this model has none: "
                "set hidden_dropout_prob or leave rdrop_alpha at 0",
                stacklevel=3,
            )
    if getattr(arguments, "contrastive_alpha", 0.0):
        try:
            classification_head(model)
        except (AttributeError, ValueError) as error:
            raise ValueError(
                "contrastive_alpha: needs a model that ends with a linear layer for its labels; "
                "expected 0"
            ) from error
        if getattr(arguments, "train_batch_size", 2) == 1:
            warnings.warn(
                "contrastive_alpha compares the texts of a batch, and each pass has one: it does "
                "nothing; raise per_device_train_batch_size or set contrastive_alpha 0",
                stacklevel=3,
            )


def _check_divergence(loss: MultiLabelLoss, option: str) -> None:
    if not loss.has_divergence:
        raise ValueError(
            f"{option}: needs a loss with a divergence ({losses_with('has_divergence')}), "
            f"got {loss_name(loss)}"
        )


def mean_row_weight(rows: Any, loss: MultiLabelLoss, *, large_label_space: bool) -> float:
    """Return the mean weight of training rows, 1 if they have none.

    Raises:
        ValueError: If a weight is negative or not finite, all are 0, or rows cannot be weighed.
    """
    in_columns = getattr(rows, "column_names", None) is not None
    if ROW_WEIGHT not in columns_of(rows):
        return 1.0
    if large_label_space:
        raise ValueError(f"{ROW_WEIGHT}: not supported with large_label_space")
    if loss.couples_rows:
        raise ValueError(
            f"{ROW_WEIGHT}: loss {loss_name(loss)} compares the rows of a batch and cannot weigh "
            "them; expected another loss"
        )
    values = rows[ROW_WEIGHT][:] if in_columns else [row[ROW_WEIGHT] for row in rows]
    weights = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(f"{ROW_WEIGHT}: expected numbers of 0 or more, and one above 0")
    return float(weights.mean())


class Objective:
    """The loss of a batch and, in training, everything added to it.

    Options are read from ``arguments`` for each batch: a search changes them between trials.

    Args:
        loss: Called with ``(logits, targets)``; returns ``(B,)`` or the mean over the batch.
        arguments: ``ZLPRTrainingArguments``, or transformers' own, whose missing options are off.
        row_inputs: Names of the batch's tensors that have one entry per row.
        mean_weight: Mean of the training rows' ``row_weight``; the weights count relative to it.
    """

    def __init__(
        self,
        loss: MultiLabelLoss,
        arguments: TrainingArguments,
        row_inputs: Collection[str],
        mean_weight: float = 1.0,
    ) -> None:
        self.loss = loss
        self.mean_weight = mean_weight
        self.arguments = arguments
        self.row_inputs = row_inputs

    def _option(self, name: str, default: Any) -> Any:
        return getattr(self.arguments, name, default)

    def compute(self, model: nn.Module, inputs: Mapping[str, Any], targets: Tensor) -> BatchLoss:
        """Run a model on a batch with targets ``(B, L)``, and in training with what belongs to it.

        That is ``teacher_logits`` for distillation and the ``row_weight`` of each row.

        Raises:
            ValueError: If the loss returns another shape, or has no divergence for a teacher.
        """
        inputs = dict(inputs)
        teacher_logits = inputs.pop("teacher_logits", None)
        weights = self._relative_weights(inputs.pop(ROW_WEIGHT, None), model)
        rows, copies, given_targets = len(targets), 1, targets
        smoothing = self._option("label_smoothing_factor", 0.0)
        rdrop_alpha = self._option("rdrop_alpha", 0.0)
        contrastive_alpha = self._option("contrastive_alpha", 0.0) if model.training else 0.0
        if model.training and smoothing:
            mode = self._option("label_smoothing_mode", "mass_preserving")
            targets = smooth_targets(targets, smoothing, mode=mode)
        if model.training and rdrop_alpha:
            _check_divergence(self.loss, "rdrop_alpha")
            copies = 2  # one forward on the doubled batch: other dropout in each half
            inputs = {name: self._doubled(name, value) for name, value in inputs.items()}
            targets = torch.cat([targets, targets])
            weights = None if weights is None else torch.cat([weights, weights])
        with ExitStack() as stack:
            features: list[Tensor] = []
            if contrastive_alpha:
                plain = extract_model_from_parallel(model)
                features = stack.enter_context(kept_head_inputs(plain))
            outputs = model(**inputs, return_dict=True)
        logits = outputs.logits
        values = self.loss(logits, targets)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != len(targets)):
            raise ValueError(
                f"the loss must return one value per example ({len(targets)},) or their mean, "
                f"got the shape {tuple(values.shape)}"
            )
        if weights is not None and not values.ndim:
            raise ValueError(f"{ROW_WEIGHT}: needs a loss with one value per example, got a mean")
        total = _weighted_sum(values, weights) / copies if values.ndim else values * rows
        if model.training and teacher_logits is not None:
            share = self._option("distillation_alpha", 0.5)
            regret = _weighted_sum(self._regret(logits, teacher_logits, copies), weights) / copies
            total = (1 - share) * total + share * regret
        of_rows = None if weights is None else weights[:rows]
        if contrastive_alpha:
            kept = of_last_token(join_replicas(features), inputs.get("attention_mask"))[:rows]
            one, other = (F.dropout(kept, FEATURE_DROPOUT) for _ in range(2))
            temperature = self._option("contrastive_temperature", TEMPERATURE)
            drawn = contrastive_loss(one, other, given_targets, temperature=temperature)
            total = total + contrastive_alpha * _weighted_sum(drawn, of_rows)
        if model.training and rdrop_alpha:
            one, other = logits.chunk(2)
            both = zlpr_divergence(one, other, reduction="none") + zlpr_divergence(
                other, one, reduction="none"
            )
            total = total + rdrop_alpha * _weighted_sum(both, of_rows) / 2
        return BatchLoss(outputs, values, total)

    def _doubled(self, name: str, value: Any) -> Any:
        return torch.cat([value, value]) if name in self.row_inputs else value

    def _regret(self, logits: Tensor, teacher_logits: Tensor, copies: int) -> Tensor:
        _check_divergence(self.loss, "teacher_logits")
        teacher = torch.cat([teacher_logits] * copies).detach()
        return zlpr_divergence(logits, teacher, reduction="none")

    def _relative_weights(self, weights: Tensor | None, model: nn.Module) -> Tensor | None:
        """Return the weights of training rows relative to their mean; None where all are equal."""
        return weights / self.mean_weight if weights is not None and model.training else None


def _weighted_sum(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.sum() if weights is None else (values * weights).sum()
