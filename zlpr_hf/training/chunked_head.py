"""ChunkedHead: training and evaluating a classifier without the logits of all its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import EvalPrediction

from zlpr_hf.losses.large_label_space import linear_top_k, linear_zlpr_loss
from zlpr_hf.metrics.top_k import TopK, compute_top_k_metrics


class ChunkedHead:
    """The head of a classifier, computed in chunks of labels while a trainer runs the model.

    Args:
        head: The model's linear layer with a row a label.
        evaluated_labels: How many of the best labels of a row evaluation keeps.
    """

    def __init__(self, head: nn.Linear, *, evaluated_labels: int) -> None:
        self.head = head
        self.evaluated_labels = min(evaluated_labels, head.out_features)

    def run(
        self, model: nn.Module, inputs: dict[str, Any], positives: Tensor
    ) -> tuple[Any, Tensor]:
        """Run a model and compute its ZLPR loss.

        While it trains, the head itself computes the loss, so that whatever wraps the model (for
        several processes, say) sees its parameters in use.

        Args:
            model: The model that the head belongs to, possibly wrapped.
            inputs: Its inputs without labels.
            positives: Ids of the positive labels, filled up with ``-100``.

        Shape:
            positives: ``(B, K)``. Loss: ``(B,)``.

        Returns:
            Outputs, and the loss of each text. While the model evaluates, ``logits`` of the outputs
            are the features ``(B, H)`` that :meth:`best` takes.
        """

        def loss_of(hidden: Tensor) -> Tensor:
            head = self.head
            return linear_zlpr_loss(hidden, head.weight, head.bias, positives, reduction="none")

        with _forward_replaced(self.head, loss_of if model.training else lambda hidden: hidden):
            outputs = model(**inputs, return_dict=True)
        return outputs, outputs.logits if model.training else loss_of(outputs.logits)

    def best(self, hidden: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        """The best labels; has the form of ``Trainer``'s ``preprocess_logits_for_metrics``.

        Args:
            hidden: Features from :meth:`run`.

        Shape:
            hidden: ``(B, H)``. Results: ``(B, k)``.

        Returns:
            Logits, largest first, and the ids of their labels.
        """
        head = self.head
        return linear_top_k(hidden.float(), head.weight, head.bias, self.evaluated_labels)

    def compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Metrics of what :meth:`best` gave, in the form that ``Trainer`` asks for.

        Args:
            prediction: Logits and ids of the best labels, and ids of the true ones.

        Returns:
            As :func:`zlpr_hf.metrics.top_k.compute_top_k_metrics`.
        """
        logits, ids = map(np.asarray, prediction.predictions)
        top_k = TopK(logits, ids, self.head.out_features)
        return compute_top_k_metrics(top_k, np.asarray(prediction.label_ids))


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a module compute something else for a while."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
