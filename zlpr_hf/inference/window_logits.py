"""Logits of windows with a model of torch, or with a session of ONNX Runtime in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.choices import LongTexts, Precision
from zlpr_hf.errors import InputError
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.windows import batches_by_length, check_choice, merge_windows
from zlpr_hf.labels import LabelSets
from zlpr_hf.models.autocast import without_autocast
from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.models.probe import RowsByLength, explain_failure
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD
from zlpr_hf.zlpr_config import ZLPRConfig

RECOMPUTE_MARGIN = 0.25
"""Texts with a bfloat16 logit this close to the threshold are computed again in float32; in units
of the logits before a temperature divided them and their errors."""


def check_reading(
    model: PreTrainedModel | OnnxModel, long_texts: object, *, precision: object, batch_size: object
) -> None:
    """Refuse options for reading texts that are not supported.

    Raises:
        InputError: If one of them is not.
    """
    check_choice("long_texts", long_texts, LongTexts)
    check_choice("precision", precision, Precision)
    if precision == "bfloat16" and isinstance(model, OnnxModel):
        raise InputError("precision: expected float32 with ONNX Runtime, got 'bfloat16'")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, got {batch_size!r}")


def compute_text_logits(
    model: PreTrainedModel | OnnxModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[dict[str, list[int]]],
    rows: NDArray[np.intp],
    count: int,
    how: LongTexts,
    *,
    precision: Precision,
    boundary: float,
    **options: Any,
) -> NDArray[np.float32]:
    """Return the logits of ``count`` texts, ``(N, L)``, from their windows.

    With ``bfloat16``, texts with a logit near ``boundary`` are computed again in float32.
    ``options`` are those of :func:`compute_window_logits`.
    """

    def run(chosen: Sequence[dict[str, list[int]]], *, bfloat16: bool) -> NDArray[np.float32]:
        return compute_window_logits(model, tokenizer, chosen, bfloat16=bfloat16, **options)

    low = precision == "bfloat16"
    found = run(windows, bfloat16=low)
    logits = merge_windows(found, rows, count, how)
    if low:
        margin = RECOMPUTE_MARGIN / (ZLPRConfig.read(model.config).temperature or 1.0)
        uncertain = (np.abs(logits - boundary) < margin) | ~np.isfinite(logits)
        again = np.flatnonzero(uncertain.any(1)[rows])
        found[again] = run([windows[int(index)] for index in again], bfloat16=False)
        logits = merge_windows(found, rows, count, how)
    return logits


def compute_window_logits(
    model: PreTrainedModel | OnnxModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[dict[str, list[int]]],
    *,
    label_sets: LabelSets | None,
    batch_size: int,
    progress: bool,
    mix_lengths: bool = True,
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Return the logits of windows, ``(W, L)``; outputs of a powerset model become label scores.

    Batches go from long to short windows, so that they hold little padding. Without
    ``mix_lengths`` the model reads windows of one length at a time. A window without tokens, such
    as an empty text of a decoder, has no label.
    """
    config: Any = model.config
    labels: int = config.num_labels if label_sets is None else label_sets.num_labels
    found = np.full((len(windows), labels), -MAX_LOGIT_THRESHOLD, np.float32)
    device: Any = model.device
    call = model if mix_lengths else RowsByLength(model, tokenizer.pad_token_id)
    batches = batches_by_length(windows, batch_size)
    with without_autocast(model), first_token_only(model):
        for chosen in tqdm(
            batches, desc="classify", unit="batch", disable=None if progress else True
        ):
            batch = tokenizer.pad([windows[index] for index in chosen], return_tensors="pt")
            texts = f"texts of up to {len(windows[chosen[0]]['input_ids'])} tokens"
            with (
                explain_failure(model, texts),
                torch.autocast(device.type, torch.bfloat16, enabled=bfloat16),
            ):
                outputs: Any = call(**batch.to(device))
            logits = outputs.logits.float().cpu().numpy()
            found[chosen] = logits if label_sets is None else label_sets.score_labels(logits)
    return found
