"""Four implementations of the ZLPR loss, as functions of dense logits and hard targets."""

from collections.abc import Callable

import torch
from torch import Tensor

from zlpr_hf import linear_zlpr_loss, zlpr_loss, zlpr_loss_from_indices
from zlpr_hf.data.targets import padded_ids
from zlpr_hf.losses.fused import composed_zlpr_loss


def ids_of(targets: Tensor) -> Tensor:
    rows = [row.nonzero().flatten().tolist() for row in targets]
    return torch.from_numpy(padded_ids(rows)).to(targets.device)


def fused(logits: Tensor, targets: Tensor) -> Tensor:
    return zlpr_loss(logits, targets, reduction="none")


def from_ids(logits: Tensor, targets: Tensor) -> Tensor:
    return zlpr_loss_from_indices(logits, ids_of(targets), reduction="none")


def in_chunks(logits: Tensor, targets: Tensor) -> Tensor:
    """A head whose logits are the given ones: each text is its own feature."""
    hidden = torch.eye(len(logits)).to(logits)
    bias = logits.new_zeros(logits.shape[1])
    positives = ids_of(targets)
    return linear_zlpr_loss(hidden, logits.T, bias, positives, chunk_size=7, reduction="none")


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "composed": composed_zlpr_loss,
    "fused": fused,
    "from ids": from_ids,
    "in chunks": in_chunks,
}
