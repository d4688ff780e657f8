"""The losses as modules, and the table by which a name on the command line finds its class."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zlpr_hf.labels import LabelSets, known_mask
from zlpr_hf.losses.baselines import asymmetric_loss, bce_loss, bp_mll_loss, focal_loss, lsep_loss
from zlpr_hf.losses.numerics import Reduction
from zlpr_hf.losses.powerset import powerset_label_scores, powerset_loss
from zlpr_hf.losses.zlpr import zlpr_loss


class MultiLabelLoss(nn.Module):
    """What all losses here share: called with ``(logits, targets)``, reduced over examples.

    Args:
        reduction: ``none``, ``mean`` or ``sum`` over the examples.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.
    """

    decides_at_zero = True
    """Whether the loss itself puts the boundary at zero; otherwise an offset has to be fitted."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class ZLPRLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.zlpr_loss`.

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> ZLPRLoss()(torch.tensor([[2.0, -1.0, -3.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.4759)
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return zlpr_loss(logits, targets, reduction=self.reduction)


class BCELoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.bce_loss` (binary relevance).

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.

    Example:
        >>> BCELoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return bce_loss(logits, targets, reduction=self.reduction)


class WeightedBCELoss(MultiLabelLoss):
    """Binary relevance with positives as heavy as negatives, label by label.

    Args:
        positive_weight: ``(L,)``, above 0; see :meth:`fit`.
        reduction: As for :class:`MultiLabelLoss`.

    References:
        King, Zeng: Logistic Regression in Rare Events Data, 2001.

    Example:
        >>> WeightedBCELoss(torch.tensor([3.0, 1.0]))(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3863)
    """

    positive_weight: Tensor

    def __init__(self, positive_weight: Tensor, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("positive_weight", positive_weight)

    @classmethod
    def fit(cls, targets: NDArray[Any], *, reduction: Reduction = "mean") -> WeightedBCELoss:
        """Negatives over positives among the known training targets; 1 for a label without any."""
        known = known_mask(targets)
        positives = ((targets >= 0.5) & known).sum(0)
        weights = (known.sum(0) - positives).clip(1) / positives.clip(1)
        weights[positives == 0] = 1.0
        return cls(torch.from_numpy(weights).float(), reduction=reduction)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        weight = self.positive_weight
        return bce_loss(logits, targets, positive_weight=weight, reduction=self.reduction)


class FocalLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.focal_loss`, exponent 2.

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, 2017.

    Example:
        >>> FocalLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.1733)
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return focal_loss(logits, targets, reduction=self.reduction)


class AsymmetricLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.asymmetric_loss`, the paper's 4, 0 and 0.05.

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Ridnik et al.: Asymmetric Loss For Multi-Label Classification, 2021, arXiv:2009.14119.

    Example:
        >>> AsymmetricLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.4353)
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return asymmetric_loss(logits, targets, reduction=self.reduction)


class LSEPLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.lsep_loss`; its decisions need a fitted offset.

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Li, Song, Luo: Improving Pairwise Ranking for Multi-label Image Classification, 2017.

    Example:
        >>> LSEPLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.6094)
    """

    decides_at_zero = False

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return lsep_loss(logits, targets, reduction=self.reduction)


class BPMLLLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.bp_mll_loss`; its decisions need a fitted offset.

    Args:
        reduction: As for :class:`MultiLabelLoss`.

    References:
        Zhang, Zhou: Multilabel Neural Networks with Applications to Functional Genomics and Text
        Categorization, 2006.

    Example:
        >>> BPMLLLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.)
    """

    decides_at_zero = False

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return bp_mll_loss(logits, targets, reduction=self.reduction)


class PowersetLoss(MultiLabelLoss):
    """Module form of :func:`zlpr_hf.powerset_loss`; the logits are those of label sets.

    Args:
        label_sets: The sets, as the model's outputs stand for them.
        reduction: As for :class:`MultiLabelLoss`.

    Shape:
        logits: ``(..., K)``. targets: ``(..., L)``.

    References:
        Tsoumakas, Katakis: Multi-label classification: an overview, 2007.

    Example:
        >>> PowersetLoss(LabelSets(((0,), (0, 1)), 2))(torch.zeros(1, 2), torch.tensor([[1, 1]]))
        tensor(0.6931)
    """

    members: Tensor

    def __init__(self, label_sets: LabelSets, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.label_sets = label_sets
        self.register_buffer("members", torch.from_numpy(label_sets.members()))

    @classmethod
    def fit(cls, targets: NDArray[Any], *, reduction: Reduction = "mean") -> PowersetLoss:
        """The label sets of the training rows; raises InputError where they are too many."""
        return cls(LabelSets.fit(targets), reduction=reduction)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return powerset_loss(logits, targets, self.members, reduction=self.reduction)

    def label_scores(self, logits: Tensor) -> Tensor:
        """Scores of the labels ``(..., L)``, above zero for those of the best set."""
        return powerset_label_scores(logits, self.members)


LOSSES: dict[str, type[MultiLabelLoss]] = {
    "zlpr": ZLPRLoss,
    "bce": BCELoss,
    "weighted_bce": WeightedBCELoss,
    "focal": FocalLoss,
    "asymmetric": AsymmetricLoss,
    "powerset": PowersetLoss,
    "lsep": LSEPLoss,
    "bp_mll": BPMLLLoss,
}
"""Name, as in ``--loss NAME`` and in ``config.json``, to class."""


def build_loss(
    name: str, *, reduction: Reduction = "mean", train_targets: NDArray[Any] | None = None
) -> MultiLabelLoss:
    """Build a loss by the name it has in :data:`LOSSES`.

    Args:
        name: A key of :data:`LOSSES`.
        reduction: ``none``, ``mean`` or ``sum`` over the examples.
        train_targets: Targets ``(N, L)`` of the training rows, for ``powerset`` (which sets there
            are) and ``weighted_bce`` (how rare each label is); the others do not look at them.

    Returns:
        The module.

    Raises:
        ValueError: If there is no loss of that name; the message lists those there are. Or if it
            needs ``train_targets`` and they are missing.
        InputError: If the label sets are too many for ``powerset``.

    Example:
        >>> build_loss("zlpr")
        ZLPRLoss(reduction='mean')
        >>> ", ".join(LOSSES)  # the names there are
        'zlpr, bce, weighted_bce, focal, asymmetric, powerset, lsep, bp_mll'
    """
    check_loss_name(name)
    kind: Any = LOSSES[name]
    if not hasattr(kind, "fit"):
        module: MultiLabelLoss = kind(reduction=reduction)
        return module
    if train_targets is None:
        raise ValueError(f"loss {name} is fitted on training targets: give train_targets (N, L)")
    fitted: MultiLabelLoss = kind.fit(train_targets, reduction=reduction)
    return fitted


def check_loss_name(name: str) -> None:
    """Refuse a name that is not in :data:`LOSSES`.

    Args:
        name: What the user wrote.

    Raises:
        ValueError: With the names there are.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(sorted(LOSSES))}, got {name!r}")
