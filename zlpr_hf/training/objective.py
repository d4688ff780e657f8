"""Objective: what a batch is trained on, from its logits: loss, smoothing, R-Drop, distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.losses.registry import loss_name, losses_with
from zlpr_hf.losses.smoothing import smooth_targets
from zlpr_hf.losses.zlpr import zlpr_divergence


@dataclass(frozen=True)
class Objective:
    """The loss of a batch, and in training what is added to it.

    Args:
        loss: Called with ``(logits, targets)``; returns ``(B,)`` or the mean over the batch.
        label_smoothing_factor: How far targets are moved in training, 0 to 1.
        label_smoothing_mode: As for :func:`zlpr_hf.smooth_targets`.
        rdrop_alpha: Weight of the divergence between two passes in training; 0 for a single pass.
        distillation_alpha: Share of the teacher's divergence where a batch has its logits.
    """

    loss: MultiLabelLoss
    label_smoothing_factor: float = 0.0
    label_smoothing_mode: Any = "mass_preserving"
    rdrop_alpha: float = 0.0
    distillation_alpha: float = 0.5

    def compute(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        targets: Tensor,
        teacher_logits: Tensor | None = None,
    ) -> tuple[Any, Tensor, Tensor]:
        """Run the model on a batch.

        Args:
            model: In training mode or not.
            inputs: What it takes.
            targets: ``(B, L)``.
            teacher_logits: ``(B, L)``, where there is a teacher.

        Returns:
            The model's outputs, the values of the loss as it returned them, and the objective,
            summed over the batch.

        Raises:
            ValueError: If the loss returns something else, or has no divergence for a teacher.
        """
        rows, copies = len(targets), 1
        if model.training and self.label_smoothing_factor:
            targets = smooth_targets(
                targets, self.label_smoothing_factor, mode=self.label_smoothing_mode
            )
        if model.training and self.rdrop_alpha:
            copies = 2  # one forward on the doubled batch: other dropout in each half
            inputs = {name: _doubled(value, rows) for name, value in inputs.items()}
            targets = torch.cat([targets, targets])
        outputs = model(**inputs, return_dict=True)
        logits = outputs.logits
        values = self.loss(logits, targets)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != len(targets)):
            raise ValueError(
                f"the loss must return one value an example ({len(targets)},) or their mean, "
                f"got the shape {tuple(values.shape)}"
            )
        total = values.sum() / copies if values.ndim else values * rows
        if model.training and teacher_logits is not None:
            share = self.distillation_alpha
            total = (1 - share) * total + share * self._regret(logits, teacher_logits, copies)
        if copies == 2:
            one, other = logits[:rows], logits[rows:]
            both = zlpr_divergence(one, other, reduction="sum") + zlpr_divergence(
                other, one, reduction="sum"
            )
            total = total + self.rdrop_alpha * both / 2
        return outputs, values, total

    def _regret(self, logits: Tensor, teacher_logits: Tensor, copies: int) -> Tensor:
        if not self.loss.has_divergence:
            raise ValueError(
                f"teacher_logits: need a loss with a divergence ({losses_with('has_divergence')}), "
                f"got {loss_name(self.loss)}"
            )
        teacher = torch.cat([teacher_logits] * copies).detach()
        return zlpr_divergence(logits, teacher, reduction="sum") / copies


def _doubled(value: Any, rows: int) -> Any:
    per_row = isinstance(value, Tensor) and value.ndim > 0 and len(value) == rows
    return torch.cat([value, value]) if per_row else value
