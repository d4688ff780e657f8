"""Embeddings of texts by the default encoder, which is not trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from zlpr_hf.cli.train_options import DEFAULT_MODEL
from zlpr_hf.models.paths import resolve_model_path

MAX_TOKENS = 256
"""Tokens per text that MiniLM was made for."""


@torch.inference_mode()
def embed(
    texts: Sequence[str], *, max_tokens: int = MAX_TOKENS, dtype: torch.dtype = torch.float32
) -> NDArray[np.float32]:
    """Return the mean token embeddings of texts, of length 1."""
    folder = resolve_model_path(DEFAULT_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder).eval().to(dtype)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = np.empty((len(texts), encoder.config.hidden_size), np.float32)
    for begin in range(0, len(order), 32):
        rows = order[begin : begin + 32]
        batch = tokenizer(
            [texts[row] for row in rows],
            truncation=True,
            max_length=max_tokens,
            padding=True,
            return_tensors="pt",
        )
        states = encoder(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(1) / mask.sum(1)
        found[rows] = torch.nn.functional.normalize(means).numpy()
    return found
