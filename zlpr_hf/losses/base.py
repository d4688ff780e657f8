"""MultiLabelLoss: the base class of all losses, and the facts that other code asks about."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from zlpr_hf.errors import suggest
from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.numerics import Reduction
from zlpr_hf.losses.stock_trainer import share_of_step

WEIGHTS_OF_POSITIVES = ("pos_weight", "positive_weight", "weight", "weights", "class_weights")
"""Names under which losses elsewhere take them."""


class MultiLabelLoss(nn.Module):
    """Base class: called with ``(logits, targets)``, reduced over examples.

    Keyword-only arguments other than ``reduction`` are hyper-parameters: numbers with a default,
    kept as attributes of the same name. A stock ``Trainer`` takes the module as its
    ``compute_loss_func``.

    Args:
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.
    """

    decides_at_zero: ClassVar[bool] = True
    """Whether training places the decision threshold at zero; otherwise it must be tuned."""
    needs_train_targets: ClassVar[bool] = False
    """Whether the class is built by ``fit(targets)``, from the targets of all training rows."""
    couples_rows: ClassVar[bool] = False
    """Whether the value of a row depends on the other rows of its batch."""
    has_divergence: bool = False
    """Whether :func:`zlpr_hf.zlpr_divergence` belongs to it: for R-Drop and distillation."""
    predicts_label_sets: ClassVar[bool] = False
    """Whether the model has one output per label set, of which one is predicted."""
    supports_large_label_space: bool = False
    """Whether it can be computed in chunks of labels, from the ids of the positive ones."""
    probability_scale: ClassVar[float | None] = None
    """``c`` if the loss fits ``sigmoid(c * logit)`` to soft targets; None if it fits no
    probability."""
    epoch: float = math.inf
    """Epochs trained so far, for a loss that changes while it trains; a trainer sets it."""
    label_sets: LabelSets | None = None
    """The label set of each output, if the loss predicts label sets."""

    def __init__(self, *, reduction: Reduction = "mean", **unknown: Any) -> None:
        super().__init__()
        if unknown:
            raise TypeError(self._describe_unknown(*unknown))
        self.reduction: Reduction = reduction

    def __call__(
        self, logits: Any, targets: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Any:
        """Return the loss of logits, or of outputs of a model as a stock ``Trainer`` hands them.

        With the number of label cells of an optimizer step, the loss is its share of that step.
        """
        if isinstance(logits, Tensor) or not hasattr(logits, "logits"):
            return super().__call__(logits, targets)
        if self.reduction == "sum":
            raise ValueError("compute_loss_func: expected reduction mean, which is exact, got sum")
        rows = copy.copy(self)
        rows.reduction = "none"
        return share_of_step(rows(logits.logits, targets), targets, num_items_in_batch)

    @classmethod
    def _describe_unknown(cls, name: str, *_: str) -> str:
        known = cls.hyper_parameters()
        names = f"expected {', '.join(known)}" if known else "it has none"
        hint = suggest(name, known)
        if name in WEIGHTS_OF_POSITIVES:
            hint = (
                "; weights of positive labels: ZLPRLoss or BCELoss with positive_weight, or "
                "WeightedBCELoss with one per label from the training targets"
            )
        return f"{cls.__name__}: unknown hyper-parameter {name!r}; {names}{hint}"

    @classmethod
    def hyper_parameters(cls) -> dict[str, Any]:
        """Return the default of each hyper-parameter."""
        arguments = inspect.signature(cls).parameters.values()
        return {
            each.name: each.default
            for each in arguments
            if each.kind is each.KEYWORD_ONLY and each.name != "reduction"
        }

    def label_scores(self, logits: Tensor) -> Tensor:
        """Return scores of labels ``(..., L)`` from the model's logits."""
        return logits

    def loss_kwargs(self) -> dict[str, Any]:
        """Return the hyper-parameters, all of them numbers, that differ from their defaults."""
        defaults = self.hyper_parameters()
        values = {name: getattr(self, name, default) for name, default in defaults.items()}
        return {
            name: value
            for name, value in values.items()
            if isinstance(value, (int, float)) and value != defaults[name]
        }

    def extra_repr(self) -> str:
        """Show hyper-parameters and reduction."""
        shown = self.hyper_parameters() | {"reduction": self.reduction}
        return ", ".join(f"{name}={getattr(self, name, value)!r}" for name, value in shown.items())


class FunctionLoss(MultiLabelLoss):
    """A loss that a function computes from logits, targets and the hyper-parameters of the module.

    Args:
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.
    """

    function: ClassVar[Callable[..., Tensor]]
    """The loss; takes the arguments of :meth:`arguments` and ``reduction`` by name."""
    check: ClassVar[Callable[..., None]]
    """Refuses hyper-parameters that are out of range; takes them by name."""

    def __init__(self, *, reduction: Reduction = "mean", **unknown: Any) -> None:
        super().__init__(reduction=reduction, **unknown)
        self._names = tuple(self.hyper_parameters())

    def keep(self, **hyper_parameters: float) -> None:
        """Check hyper-parameters, and keep each as an attribute of its name."""
        self.check(**hyper_parameters)
        for name, value in hyper_parameters.items():
            setattr(self, name, value)

    def arguments(self) -> dict[str, Any]:
        """Return what the function takes besides logits, targets and reduction."""
        return {name: getattr(self, name) for name in self._names}

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        arguments = self.arguments()
        value: Tensor = self.function(logits, targets, **arguments, reduction=self.reduction)
        return value
