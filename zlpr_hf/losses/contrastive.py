"""A contrastive loss on the features of texts: texts that share labels are drawn together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zlpr_hf.losses.numerics import prepare

TEMPERATURE = 0.05
"""Divides cosines. The paper has 0.1; on GoEmotions with few texts 0.05 and 0.03 are better."""


def contrastive_loss(
    one: Tensor, other: Tensor, targets: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    r"""Return the supervised contrastive loss of each text, weighted by the labels that are shared.

    Each text has two features, with different dropout. With ``z`` all ``2B`` normalised
    features and ``w`` the Jaccard index of the label sets of two texts, 1 for both features of one
    text, the value of a feature is

    .. math::
        -\sum_{j \ne i} \frac{w_{ij}}{\sum_{k \ne i} w_{ik}}
        \log \frac{\exp(z_i \cdot z_j / T)}{\sum_{k \ne i} \exp(z_i \cdot z_k / T)}

    It is 0 for a text that shares no label with another one of the batch; the paper draws such a
    text to its own second feature. Two texts without labels have nothing in common here.

    Args:
        one: Features of the texts.
        other: Their features with other dropout.
        targets: Values in [0, 1]; ``-100`` or NaN marks an unknown label, which is not shared.
        temperature: ``T``, above 0 (default: 0.05).

    Shape:
        one, other: ``(B, H)``. targets: ``(B, L)``. Result: ``(B,)``, the mean of both features.

    Raises:
        ValueError: If a target is outside [0, 1], or the temperature is not above 0.

    References:
        Khosla et al.: Supervised Contrastive Learning, 2020, equation 2.
        Lin et al.: An Effective Deployment of Contrastive Learning in Multi-label Text
        Classification, 2023 (Findings of ACL), for the Jaccard index.

    Example:
        >>> features = torch.eye(2)
        >>> contrastive_loss(features, features, torch.ones(2, 1))  # one label, far apart
        tensor([13.3333, 13.3333])
    """
    if temperature <= 0:
        raise ValueError(f"temperature: expected a value above 0, got {temperature:g}")
    _, shares, _ = prepare(targets, targets)
    products = shares @ shares.T
    sizes = products.diagonal()
    union = sizes[:, None] + sizes - products  # of soft targets, the Tanimoto index
    overlap = products / union.clamp(min=torch.finfo(union.dtype).tiny)
    overlap.fill_diagonal_(1)
    has_partner = (overlap.sum(1) > 1).repeat(2)
    itself = torch.eye(2 * len(shares), dtype=torch.bool, device=shares.device)
    weights = overlap.repeat(2, 2).masked_fill(itself, 0)
    features = F.normalize(torch.cat([one, other]).to(shares.dtype), dim=1)
    cosines = (features @ features.T / temperature).masked_fill(itself, -torch.inf)
    log_shares = torch.log_softmax(cosines, dim=1).masked_fill(itself, 0)
    values = -(weights * log_shares).sum(1) / weights.sum(1) * has_partner
    return (values[: len(shares)] + values[len(shares) :]) / 2
