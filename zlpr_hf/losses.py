"""The losses as modules, and the table by which a name on the command line finds its class."""

from torch import Tensor, nn

from zlpr_hf.functional import Reduction, bce_loss, zlpr_loss


class ZLPRLoss(nn.Module):
    """Module form of :func:`zlpr_hf.functional.zlpr_loss`.

    Args:
        reduction: ``none``, ``mean`` or ``sum`` over the examples.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> import torch
        >>> ZLPRLoss()(torch.tensor([[2.0, -1.0, -3.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.4759)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return zlpr_loss(logits, targets, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class BCELoss(nn.Module):
    """Module form of :func:`zlpr_hf.functional.bce_loss` (binary relevance).

    Args:
        reduction: ``none``, ``mean`` or ``sum`` over the examples.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    References:
        Boutell, Luo, Shen, Brown: Learning multi-label scene classification, 2004.

    Example:
        >>> import torch
        >>> BCELoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(0.6931)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return bce_loss(logits, targets, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


LOSSES: dict[str, type[ZLPRLoss] | type[BCELoss]] = {"zlpr": ZLPRLoss, "bce": BCELoss}
"""Name, as in ``--loss NAME`` and in ``config.json``, to class."""


def build_loss(name: str, *, reduction: Reduction = "mean") -> nn.Module:
    """Build a loss by the name it has in :data:`LOSSES`.

    Args:
        name: A key of :data:`LOSSES`.
        reduction: ``none``, ``mean`` or ``sum`` over the examples.

    Returns:
        The module.

    Raises:
        ValueError: If there is no loss of that name; the message lists those there are.

    Example:
        >>> build_loss("zlpr")
        ZLPRLoss(reduction='mean')
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(sorted(LOSSES))}, got {name!r}")
    return LOSSES[name](reduction=reduction)
