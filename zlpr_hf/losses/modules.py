"""The losses as modules, with their hyper-parameters."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.labels import LabelSets, known_mask
from zlpr_hf.losses.base import FunctionLoss
from zlpr_hf.losses.binary_relevance import (
    asymmetric_loss,
    bce_loss,
    check_asymmetric,
    focal_loss,
)
from zlpr_hf.losses.numerics import Reduction, check_not_negative, check_tensors
from zlpr_hf.losses.powerset import powerset_label_scores, powerset_loss
from zlpr_hf.losses.ranking import bp_mll_loss, lsep_loss
from zlpr_hf.losses.zlpr import check_zlpr, zlpr_loss


class ZLPRLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.zlpr_loss`, which has formula and source.

    R-Drop, distillation and large label spaces need the default hyper-parameters.

    Args:
        temperature: Above 0 (default: 1).
        positive_weight: Weight of positive labels, a single number or a tensor with one per label,
            above 0 (default: 1).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> ZLPRLoss()(torch.tensor([[2.0, -1.0, -3.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.4759)
    """

    function = staticmethod(zlpr_loss)
    has_divergence = True
    supports_large_label_space = True
    probability_scale = 2.0
    positive_weight: Tensor | float

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        positive_weight: Tensor | float = 1.0,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        check_zlpr(temperature, positive_weight)
        self.temperature = temperature
        if isinstance(positive_weight, Tensor):
            self.register_buffer("positive_weight", positive_weight)
        else:
            self.positive_weight = positive_weight
        if temperature != 1 or isinstance(positive_weight, Tensor) or positive_weight != 1:
            self.has_divergence = self.supports_large_label_space = False


class BCELoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.bce_loss`, which has formula and source.

    Args:
        positive_weight: Weight of all positive labels, above 0 (default: 1). For one weight per
            label see :class:`zlpr_hf.WeightedBCELoss`.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If ``positive_weight`` is out of range.

    Example:
        >>> BCELoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """

    function = staticmethod(bce_loss)
    probability_scale = 1.0

    def __init__(
        self, *, positive_weight: float = 1.0, reduction: Reduction = "mean", **unknown: Any
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        if not 0 < positive_weight < float("inf"):
            raise ValueError(f"positive_weight must be above 0, got {positive_weight:g}")
        self.positive_weight = positive_weight


class WeightedBCELoss(FunctionLoss):
    """Binary relevance in which the positives of each label weigh as much as its negatives.

    Args:
        positive_weight: One weight per label, above 0; ``fit`` computes it from training targets.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        positive_weight: ``(L,)``. logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``,
        else a scalar.

    References:
        King, Zeng: Logistic Regression in Rare Events Data, 2001.

    Example:
        >>> WeightedBCELoss(torch.tensor([3.0, 1.0]))(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3863)
    """

    function = staticmethod(bce_loss)
    needs_train_targets = True
    positive_weight: Tensor

    def __init__(self, positive_weight: Tensor, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        check_tensors(positive_weight=positive_weight)
        self.register_buffer("positive_weight", positive_weight)

    def arguments(self) -> dict[str, Any]:
        return {"positive_weight": self.positive_weight}

    @classmethod
    def fit(cls, targets: NDArray[Any], *, reduction: Reduction = "mean") -> WeightedBCELoss:
        """Weigh by negatives over positives among the known targets; 1 without positives."""
        known = known_mask(targets)
        positives = ((targets >= 0.5) & known).sum(0)
        weights = (known.sum(0) - positives).clip(1) / positives.clip(1)
        weights[positives == 0] = 1.0
        return cls(torch.from_numpy(weights).float(), reduction=reduction)


class FocalLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.focal_loss`, which has formula and source.

    Args:
        gamma: Focusing exponent, 0 or above (default: 2).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If ``gamma`` is out of range.

    Example:
        >>> FocalLoss(gamma=1.0)(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.3466)
    """

    function = staticmethod(focal_loss)
    check = staticmethod(check_not_negative)

    def __init__(
        self, *, gamma: float = 2.0, reduction: Reduction = "mean", **unknown: Any
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(gamma=gamma)


class AsymmetricLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.asymmetric_loss`, which has formula and source.

    Args:
        gamma_negative: Focusing exponent of negative labels, 0 or at least 1 (default: 4).
        gamma_positive: Focusing exponent of positive labels, 0 or above (default: 0).
        margin: Probability below which a negative label costs nothing, in [0, 1) (default: 0.05).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> AsymmetricLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.4353)
    """

    function = staticmethod(asymmetric_loss)
    check = staticmethod(check_asymmetric)

    def __init__(
        self,
        *,
        gamma_negative: float = 4.0,
        gamma_positive: float = 0.0,
        margin: float = 0.05,
        reduction: Reduction = "mean",
        **unknown: Any,
    ) -> None:
        super().__init__(reduction=reduction, **unknown)
        self.keep(gamma_negative=gamma_negative, gamma_positive=gamma_positive, margin=margin)


class LSEPLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.lsep_loss`, which has formula and source.

    Its decisions need a tuned threshold.

    Args:
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Example:
        >>> LSEPLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.6094)
    """

    function = staticmethod(lsep_loss)
    decides_at_zero = False


class BPMLLLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.bp_mll_loss`, which has formula and source.

    Its decisions need a tuned threshold.

    Args:
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Example:
        >>> BPMLLLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.)
    """

    function = staticmethod(bp_mll_loss)
    decides_at_zero = False


class PowersetLoss(FunctionLoss):
    """Module form of :func:`zlpr_hf.powerset_loss`; the logits are scores of label sets.

    Args:
        label_sets: The label sets, in the order of the model's outputs; ``fit`` collects them from
            training targets.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits: ``(..., K)``. targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    References:
        Tsoumakas, Katakis: Multi-label classification: an overview, 2007.

    Example:
        >>> PowersetLoss(LabelSets(((0,), (0, 1)), 2))(torch.zeros(1, 2), torch.tensor([[1, 1]]))
        tensor(0.6931)
    """

    function = staticmethod(powerset_loss)
    needs_train_targets = True
    predicts_label_sets = True
    label_sets: LabelSets
    members: Tensor

    def __init__(self, label_sets: LabelSets, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.label_sets = label_sets
        self.register_buffer("members", torch.from_numpy(label_sets.members()))

    @classmethod
    def fit(cls, targets: NDArray[Any], *, reduction: Reduction = "mean") -> PowersetLoss:
        """Collect the label sets of training rows; InputError if there are too many."""
        return cls(LabelSets.fit(targets), reduction=reduction)

    def arguments(self) -> dict[str, Any]:
        return {"label_sets": self.members}

    def label_scores(self, logits: Tensor) -> Tensor:
        """Return scores of labels ``(..., L)``; those of the best set are above zero."""
        return powerset_label_scores(logits, self.members)
