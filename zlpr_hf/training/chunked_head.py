"""ChunkedHead: training and evaluation without the logits of all labels in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import EvalPrediction

from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.large_label_space import linear_top_k, linear_zlpr_loss
from zlpr_hf.losses.registry import loss_name, losses_with
from zlpr_hf.metrics.top_k import TopK, compute_top_k_metrics
from zlpr_hf.models.head import classification_head, forward_replaced
from zlpr_hf.training.objective import BatchLoss


class ChunkedHead:
    """The head of a classifier, computed in chunks of labels while a trainer runs the model.

    ``head`` is the model's linear layer with one row per label. Evaluation keeps the best
    ``evaluated_labels`` labels of each row.
    """

    def __init__(self, head: nn.Linear, *, evaluated_labels: int) -> None:
        self.head = head
        self.evaluated_labels = min(evaluated_labels, head.out_features)

    @classmethod
    def from_model(cls, model: Any, loss: MultiLabelLoss, *, evaluated_labels: int) -> ChunkedHead:
        """Take the head of a model; refuse a loss that needs all logits.

        Raises:
            ValueError: If the loss does not support a large label space.
        """
        if not loss.supports_large_label_space:
            names = losses_with("supports_large_label_space")
            raise ValueError(f"large_label_space: expected {names}, got {loss_name(loss)}")
        return cls(classification_head(model), evaluated_labels=evaluated_labels)

    def compute(self, model: nn.Module, inputs: Mapping[str, Any], targets: Tensor) -> BatchLoss:
        """Run a model, possibly wrapped, and compute its ZLPR loss.

        In training the head itself computes the loss, so that a wrapper for several processes sees
        its parameters in use. In evaluation, ``logits`` of the outputs are the features ``(B, H)``
        that :meth:`best` takes. ``targets`` are ids of positive labels ``(B, K)``, filled up with
        ``-100``.
        """

        def loss_of(hidden: Tensor) -> Tensor:
            if hidden.ndim > 2:  # a decoder selects the last token after its head
                return hidden
            head = self.head
            return linear_zlpr_loss(hidden, head.weight, self._bias(), targets, reduction="none")

        with forward_replaced(self.head, loss_of) if model.training else self.features():
            outputs = model(**inputs, return_dict=True)
        values = loss_of(outputs.logits) if outputs.logits.ndim > 1 else outputs.logits
        return BatchLoss(outputs, values, values.sum())

    def features(self) -> AbstractContextManager[None]:
        """Let ``logits`` of the model be the inputs of the head for a while."""
        return forward_replaced(self.head, lambda hidden: hidden)

    def best(self, hidden: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, k)``, largest first, and label ids from features ``(B, H)``.

        The signature is that of ``Trainer``'s ``preprocess_logits_for_metrics``.
        """
        head = self.head
        return linear_top_k(hidden.float(), head.weight, self._bias(), self.evaluated_labels)

    def _bias(self) -> Tensor:
        """Return the bias of the head; zeros if it has none, as in decoders."""
        bias: Tensor | None = self.head.bias
        return self.head.weight.new_zeros(self.head.out_features) if bias is None else bias

    def compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return the metrics of the labels found by :meth:`best`, in the form of ``Trainer``."""
        logits, ids = map(np.asarray, prediction.predictions)
        top_k = TopK(logits, ids, self.head.out_features)
        return compute_top_k_metrics(top_k, np.asarray(prediction.label_ids))
