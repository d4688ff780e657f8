"""Logits of a model's inputs, longest first, so that batches hold little padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.powerset import powerset_label_scores
from zlpr_hf.models.first_token import first_token_only


def compute_window_logits(
    model: PreTrainedModel | OnnxModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[dict[str, list[int]]],
    *,
    label_sets: LabelSets | None,
    batch_size: int,
    progress: bool,
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Logits of windows of texts.

    Args:
        model: In evaluation mode.
        tokenizer: Its own; pads.
        windows: Token ids and what goes with them.
        label_sets: For a powerset model: what its outputs stand for.
        batch_size: Windows at a time.
        progress: Whether to show a bar.
        bfloat16: Whether to multiply in bfloat16.

    Shape:
        Result: ``(N, L)``.

    Returns:
        Logits in the order of the windows.
    """
    lengths = np.array([len(window["input_ids"]) for window in windows], dtype=int)
    order = np.argsort(-lengths, kind="stable")
    config: Any = model.config
    labels: int = config.num_labels if label_sets is None else label_sets.num_labels
    found = np.empty((len(windows), labels), np.float32)
    device: Any = model.device
    starts = range(0, len(order), batch_size)
    with first_token_only(model):
        for start in tqdm(starts, desc="classify", unit="batch", disable=not progress):
            chosen = order[start : start + batch_size]
            batch = tokenizer.pad([windows[index] for index in chosen], return_tensors="pt")
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                outputs: Any = model(**batch.to(device))
            logits = outputs.logits.float()
            if label_sets is not None:
                logits = powerset_label_scores(
                    logits, torch.from_numpy(label_sets.members()).to(logits.device)
                )
            found[chosen] = logits.cpu().numpy()
    return found
