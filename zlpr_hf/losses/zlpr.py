"""The mathematics of the ZLPR paper as pure functions of ``(logits, targets)``."""

import torch
from torch import Tensor

from zlpr_hf.losses.fused import can_be_fused, composed_zlpr_loss, fused_zlpr_loss
from zlpr_hf.losses.numerics import Reduction, check_shapes, log1p_sum_exp, reduce


def zlpr_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    positive_weight: Tensor | float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Zero-bounded log-sum-exp and pairwise rank-based loss, for hard and for soft targets.

    Ranks every positive label above every negative one, and both against a fixed zero: the loss
    itself trains the decision rule ``logits > 0``. Each term is formed in log space,
    ``exp(log t - s)``, so that targets of exactly 0 and 1 need no epsilon and logits of any size
    stay finite.

    .. math::
        L(s, t) = T \log\Bigl(1 + \sum_i w_i t_i e^{-s_i / T}\Bigr)
                + T \log\Bigl(1 + \sum_i (1 - t_i) e^{s_i / T}\Bigr)

    The loss is convex in ``s``. For soft targets its minimum lies at ``s = logit(t) / 2``, hence
    :func:`zlpr_probabilities`. The paper has neither ``T`` nor ``w``: a temperature below 1 trains
    on the worst label of each side, a high one on all of them; a weight moves the probability of an
    uncertain label whose logit is zero from ``1 / 2`` to ``1 / (1 + w)``.

    Args:
        logits: Raw scores of the labels. Half precision is computed in float32, float64 in float64.
            ``-inf`` masks a negative label.
        targets: Bool, integer or floating values in [0, 1]; ``-100`` or NaN marks an unknown label.
            Targets are constants: they get no gradient.
        temperature: ``T``, above 0 (default: 1).
        positive_weight: ``w``, a single number or one per label, above 0 (default: 1).
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        logits, targets: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The loss; 0 for an example without a known label.

    Raises:
        ValueError: If a parameter is out of range, the shapes differ, ``reduction`` is unknown, or
            a target is outside [0, 1].

    References:
        Su, Zhu, Murtadha, Pan, Wen, Liu: ZLPR: A Novel Loss for Multi-label Classification, 2022,
        arXiv:2208.02955.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0, -3.0]])
        >>> zlpr_loss(logits, torch.tensor([[1, 0, 0]]))
        tensor(0.4759)
    """
    check_shapes(logits, targets)
    check_zlpr(temperature, positive_weight)
    if temperature != 1:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    is_weighted = isinstance(positive_weight, Tensor) or positive_weight != 1
    if not is_weighted and can_be_fused(logits, targets):
        value = fused_zlpr_loss(logits, targets, reduction)
    else:
        value = reduce(composed_zlpr_loss(logits, targets, positive_weight), reduction)
    return value if temperature == 1 else temperature * value


def check_zlpr(temperature: float, positive_weight: Tensor | float) -> None:
    """Refuse a temperature or a single weight that is not a positive number."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be above 0, got {temperature:g}")
    if not isinstance(positive_weight, Tensor) and not 0 < positive_weight < float("inf"):
        raise ValueError(f"positive_weight must be above 0, got {positive_weight:g}")


def zlpr_probabilities(logits: Tensor) -> Tensor:
    r"""Probabilities that the ZLPR loss fits, :math:`\sigma(2 s)`.

    The soft loss has its minimum at ``s = logit(t) / 2``; inverting that gives ``t``. After
    training on hard labels, the probability lies between :math:`\sigma(s)`, which is exact for a
    single uncertain label, and :math:`\sigma(2 s)`, the limit for many uncertain labels. Both give
    the same ranking and cross 0.5 at the same logit. A model of ``zlpr train`` has the scale of its
    logits fitted on validation: its score is :math:`\sigma(s)`.

    Args:
        logits: Raw scores of a model trained with ZLPR. Half precision is computed in float32.

    Shape:
        Any; the result has the same shape.

    Returns:
        Values in [0, 1]; above 0.5 where the logit is above 0, up to rounding.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> zlpr_probabilities(torch.tensor([0.0, 1.0]))
        tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(2 * logits.to(torch.promote_types(logits.dtype, torch.float32)))


def zlpr_divergence(
    student_logits: Tensor, teacher_logits: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""KL-divergence of ZLPR: the student's regret under the teacher's probabilities.

    With :math:`p = \sigma(2 u)`, the probabilities of the teacher's logits ``u``, it is the
    cross-entropy of the student minus that of the teacher,

    .. math::
        D(u \,\|\, s) = L(s, p) - L(u, p)
            = \log \mathbb{E}_w e^{u - s} + \log \mathbb{E}_w e^{s - u},
        \qquad w_i \propto \frac{1}{2 \cosh u_i}, \quad w_0 \propto 1

    where the atom ``w_0`` has a difference of zero. By the Cauchy-Schwarz inequality it is
    non-negative, and zero only if all logits are equal; close to that it is the variance of the
    difference. It is formed in log space, not from ``p``, and is exactly zero at equality.

    Args:
        student_logits: Raw scores of the model that learns.
        teacher_logits: Raw scores of a model trained with ZLPR. Both arguments get a gradient;
            detach the one that is constant.
        reduction: ``none`` for one value per example, or their ``mean`` or ``sum``.

    Shape:
        student_logits, teacher_logits: ``(..., L)``. Result: ``(...)`` for ``none``, else a scalar.

    Returns:
        The divergence, 0 or above up to rounding. A label masked with ``-inf`` in both counts as
        equal; one that only the teacher masks is pushed below zero.

    Raises:
        ValueError: If the shapes differ or ``reduction`` is unknown.

    References:
        Su et al.: ZLPR: A Novel Loss for Multi-label Classification, 2022, arXiv:2208.02955.

    Example:
        >>> teacher = torch.tensor([[2.0, -1.0, -3.0]])
        >>> zlpr_divergence(teacher, teacher), zlpr_divergence(-teacher, teacher)
        (tensor(0.), tensor(4.4507))
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            "student_logits and teacher_logits must have the same shape (..., num_labels), "
            f"got {tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        )
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    dtype = torch.promote_types(dtype, teacher_logits.dtype)
    student, teacher = student_logits.to(dtype), teacher_logits.to(dtype)
    masked = (student == teacher) & student.isinf()
    s, u = (values.masked_fill(masked, 0.0) for values in (student, teacher))
    # log w + u - s and log w + s - u without the difference of two large numbers.
    rest = torch.log1p((-2 * u.abs()).exp())
    pull_up = (-s - 2 * (-u).relu() - rest).masked_fill(masked, -torch.inf)
    push_down = (s - 2 * u.relu() - rest).masked_fill(masked, -torch.inf)
    log_weight = (-u.abs() - rest).masked_fill(masked, -torch.inf)
    divergence = log1p_sum_exp(pull_up) + log1p_sum_exp(push_down) - 2 * log1p_sum_exp(log_weight)
    return reduce(divergence, reduction)
