"""LOSSES: the losses by name, and building one with its hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from zlpr_hf.errors import suggest
from zlpr_hf.losses.balanced import ClassBalancedLoss, DistributionBalancedLoss
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.batch_wise import SigmoidF1Loss, TwoWayLoss
from zlpr_hf.losses.missing_labels import HillLoss, SPLCLoss
from zlpr_hf.losses.modules import (
    AsymmetricLoss,
    BCELoss,
    BPMLLLoss,
    FocalLoss,
    LSEPLoss,
    PowersetLoss,
    WeightedBCELoss,
    ZLPRLoss,
)
from zlpr_hf.losses.numerics import Reduction
from zlpr_hf.losses.polynomial import Poly1Loss, RobustAsymmetricLoss

LOSSES: dict[str, type[MultiLabelLoss]] = {
    "zlpr": ZLPRLoss,
    "bce": BCELoss,
    "weighted_bce": WeightedBCELoss,
    "focal": FocalLoss,
    "asymmetric": AsymmetricLoss,
    "robust_asymmetric": RobustAsymmetricLoss,
    "poly1": Poly1Loss,
    "class_balanced": ClassBalancedLoss,
    "distribution_balanced": DistributionBalancedLoss,
    "hill": HillLoss,
    "splc": SPLCLoss,
    "sigmoid_f1": SigmoidF1Loss,
    "powerset": PowersetLoss,
    "two_way": TwoWayLoss,
    "lsep": LSEPLoss,
    "bp_mll": BPMLLLoss,
}
"""Class by name, as in ``--loss NAME`` and in ``config.json``."""


class CustomLoss(MultiLabelLoss):
    """A module of the user's own, about which nothing is assumed but the base class's facts."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(reduction="none")
        self.module = module

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        value: Tensor = self.module(logits, targets)
        return value


def as_multi_label_loss(module: nn.Module) -> MultiLabelLoss:
    """Return a loss of this package as it is, and any other module as a :class:`CustomLoss`."""
    return module if isinstance(module, MultiLabelLoss) else CustomLoss(module)


def build_loss(
    name: str,
    *,
    reduction: Reduction = "mean",
    train_targets: NDArray[Any] | None = None,
    **loss_kwargs: float,
) -> MultiLabelLoss:
    """Build a loss by its name in :data:`LOSSES`.

    Args:
        name: A key of :data:`LOSSES`.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.
        train_targets: Targets of the training rows. Required by ``powerset`` (for its label sets)
            and by ``weighted_bce``, ``class_balanced`` and ``distribution_balanced`` (for the
            frequency of each label); the others ignore it.
        **loss_kwargs: Hyper-parameters of the loss, such as ``gamma`` of ``focal``: the keyword
            arguments of its class.

    Shape:
        train_targets: ``(N, L)``.

    Returns:
        The module.

    Raises:
        ValueError: If there is no such loss, it has no such hyper-parameter, a value is out of
            range, or ``train_targets`` is missing.
        InputError: If there are too many label sets for ``powerset``.

    Example:
        >>> build_loss("zlpr")
        ZLPRLoss(temperature=1.0, positive_weight=1.0, reduction='mean')
        >>> build_loss("focal", gamma=1.0)
        FocalLoss(gamma=1.0, reduction='mean')
        >>> sorted(LOSSES)[:3]
        ['asymmetric', 'bce', 'bp_mll']
    """
    values = check_loss(name, loss_kwargs)
    if LOSSES[name].needs_train_targets and train_targets is None:
        raise ValueError(f"loss {name} is fitted on training targets: give train_targets (N, L)")
    return _build(name, train_targets, reduction=reduction, **values)


def _build(name: str, train_targets: NDArray[Any] | None, **arguments: Any) -> MultiLabelLoss:
    kind: Any = LOSSES[name]
    fitted = kind.needs_train_targets
    loss: MultiLabelLoss = kind.fit(train_targets, **arguments) if fitted else kind(**arguments)
    return loss


def check_loss(name: str, loss_kwargs: Mapping[str, Any]) -> dict[str, float]:
    """Refuse an unknown loss, an unknown hyper-parameter, or a value out of range.

    Returns:
        The hyper-parameters as numbers; text such as ``1e-1``, as YAML reads it, is converted.
    """
    if name not in LOSSES:
        hint = suggest(name, LOSSES)
        raise ValueError(f"loss must be one of {', '.join(sorted(LOSSES))}, got {name!r}{hint}")
    known = LOSSES[name].hyper_parameters()
    values = {}
    for key, value in loss_kwargs.items():
        if key not in known:
            names = f"expected {', '.join(known)}" if known else "it has none"
            raise ValueError(
                f"loss {name}: unknown hyper-parameter {key!r}; {names}{suggest(key, known)}"
            )
        values[key] = _number(f"loss {name}: {key}", value)
    try:
        example_loss(name, values)
    except ValueError as error:
        raise ValueError(f"loss {name}: {error}") from error
    return values


def example_loss(name: str, loss_kwargs: Mapping[str, Any]) -> MultiLabelLoss:
    """Return a loss before there is data, for its facts; fitted on made-up targets if need be."""
    return _build(name, np.eye(2, dtype=np.float32), **loss_kwargs)


def _number(where: str, value: Any) -> float:
    if not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise ValueError(f"{where} must be a number, got {value!r}")


def loss_name(loss: nn.Module) -> str:
    """Return the name of a loss in :data:`zlpr_hf.LOSSES`, or the name of its class."""
    module = loss.module if isinstance(loss, CustomLoss) else loss
    names = (name for name, kind in LOSSES.items() if type(module) is kind)
    return next(names, type(module).__name__)


def loss_class(name: str | None) -> type[MultiLabelLoss]:
    """Return the class of a loss; the base class for a loss that is not in :data:`LOSSES`."""
    return LOSSES.get(name or "", MultiLabelLoss)


def losses_with(fact: str) -> str:
    """Return the names of the losses of which a fact of the class is true, for messages."""
    return ", ".join(name for name, kind in LOSSES.items() if getattr(kind, fact))


def render_loss(name: str, loss_kwargs: Mapping[str, Any]) -> str:
    """Return a loss with its hyper-parameters, such as ``focal(gamma=1.0)``."""
    values = ", ".join(f"{key}={value}" for key, value in loss_kwargs.items())
    return f"{name}({values})" if values else name


def build_compute_loss_func(
    name: str = "zlpr", *, train_targets: NDArray[Any] | None = None, **loss_kwargs: float
) -> Callable[..., Tensor]:
    """Build a ``compute_loss_func`` for your own ``transformers.Trainer``.

    The result is the loss that :func:`zlpr_hf.build_loss` returns; ``ZLPRLoss()`` itself does too.

    Args:
        name: A name in :data:`zlpr_hf.LOSSES` (default: ``zlpr``).
        train_targets: Targets of the training rows, as in :func:`zlpr_hf.build_loss`.
        **loss_kwargs: Hyper-parameters of the loss, as in :func:`zlpr_hf.build_loss`.

    Returns:
        A function of ``(outputs, labels, num_items_in_batch)`` to pass to
        ``transformers.Trainer(compute_loss_func=...)``. Its gradients are those of
        :class:`zlpr_hf.ZLPRTrainer`, also under gradient accumulation and with several GPUs in one
        process. The stock Trainer counts label cells other than ``-100``, and the function needs
        the number of examples: mark unknown labels with NaN.

    Raises:
        ValueError: As in :func:`zlpr_hf.build_loss`. From the function: if a label is ``-100``
            while the Trainer trains, so that the number of examples is unknown.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> loss = build_compute_loss_func("zlpr")
        >>> loss(SimpleNamespace(logits=torch.zeros(1, 3)), torch.tensor([[1, 0, 0]]))
        tensor(1.7918)
    """
    return build_loss(name, reduction="mean", train_targets=train_targets, **loss_kwargs)
