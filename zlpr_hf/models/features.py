"""Features of texts: the inputs of the classification head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.models.head import classification_head, forward_replaced


@torch.inference_mode()
def compute_features(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, ...]],
    *,
    max_length: int | None = None,
    batch_size: int = 32,
    bfloat16: bool = False,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Return the inputs of the head for texts or pairs, ``(N, D)``, with dropout off.

    Texts are cut to ``max_length`` tokens (default: ``model_max_length`` of the tokenizer). The
    longest texts come first, so that batches hold little padding.
    """
    found: list[torch.Tensor] = []
    head: Any = classification_head(model)
    order = sorted(range(len(texts)), key=lambda row: -sum(map(len, texts[row])))
    was_training = model.training
    model.train(False)
    try:
        with forward_replaced(head, lambda hidden: hidden):
            for start in tqdm(
                range(0, len(texts), batch_size),
                desc="features",
                disable=None if progress else True,
            ):
                rows = [texts[row] for row in order[start : start + batch_size]]
                columns = [list(column) for column in zip(*rows, strict=True)]
                batch: Any = tokenizer(
                    *columns,
                    padding=True,
                    truncation=True,
                    max_length=max_length,
                    return_tensors="pt",
                )
                with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
                    found.append(model(**batch.to(model.device)).logits.float().cpu())
    finally:
        model.train(was_training)
    if not found:
        return np.zeros((0, head.in_features), np.float32)
    features = np.empty((len(texts), head.in_features), np.float32)
    features[order] = torch.cat(found).numpy()
    return features
