"""Read long texts in overlapping windows, so that nothing is cut off silently."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zlpr_hf.choices import LongTexts, Precision
from zlpr_hf.errors import InputError
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.powerset import powerset_label_scores
from zlpr_hf.models.autocast import without_autocast
from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.models.probe import RowsByLength, explain_failure
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)

Texts = Sequence[tuple[str, ...]]
"""One text per row, or two for pairs."""

OVERLAP = 4
"""Neighbouring windows share one part in this many of their tokens: a quarter."""
RECOMPUTE_MARGIN = 0.25
"""Texts with a bfloat16 logit this close to the threshold are computed again in float32; in units
of the logits before a temperature divided them and their errors."""
NOT_STORED = (
    "the model does not say how to read long texts: %d of %d texts are longer than %d tokens and "
    "are cut there, as in a stock pipeline; long_texts max or mean reads them in windows"
)


def check_choice(option: str, value: object, choices: Any) -> None:
    """Refuse a value that is not one of the choices of an option, a ``Literal``."""
    if value not in get_args(choices):
        raise InputError(f"{option}: expected {' or '.join(get_args(choices))}, got {value!r}")


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


def stored_rule(config: Any) -> LongTexts | None:
    """Return how a model reads long texts, as its training chose; None if nothing is stored."""
    rule: Any = ZLPRConfig.read(config).long_texts
    if rule is not None and rule not in get_args(LongTexts):
        expected = ", ".join(get_args(LongTexts))
        raise InputError(f"config.json, long_texts: expected one of {expected}, got {rule!r}")
    found: LongTexts | None = rule
    return found


def count_long(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> int:
    """Return the number of texts with more than ``model_max_length`` tokens."""
    if not texts:
        return 0
    columns = [list(column) for column in zip(*texts, strict=True)]
    whole = tokenizer(*columns, truncation=False, verbose=False)["input_ids"]
    return sum(len(ids) > tokenizer.model_max_length for ids in whole)


class CutWarning:
    """Warns once of a model that does not say how to read long texts, with their number."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._given = False

    def check(self, windows: Sequence[dict[str, list[int]]], texts: Texts) -> None:
        """Warn if a text is longer than its only window."""
        limit = self._tokenizer.model_max_length
        full = [
            text
            for window, text in zip(windows, texts, strict=True)
            if len(window["input_ids"]) == limit
        ]
        count = 0 if self._given else count_long(self._tokenizer, full)
        if count:
            self._given = True
            logger.warning(NOT_STORED, count, len(texts), limit)


def find_blank(texts: Texts) -> NDArray[np.bool_]:
    """Return which rows hold only white space, ``(N,)``; no model gives them a label."""
    return np.array([not any(map(str.strip, row)) for row in texts], dtype=bool)


def split_into_windows(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, *, cut: bool
) -> tuple[list[dict[str, list[int]]], NDArray[np.intp]]:
    """Return model inputs of ``W`` windows, without padding, and the row of each, ``(W,)``.

    Windows have up to ``model_max_length`` tokens. The longer text of a pair is split; each of its
    windows goes with the whole shorter text. With ``cut`` only the first window is kept.
    """
    limit = tokenizer.model_max_length
    windows: list[dict[str, list[int]]] = []
    rows: list[int] = []
    for truncation, chosen in _group_by_truncation(tokenizer, texts, cut).items():
        columns = [list(column) for column in zip(*(texts[row] for row in chosen), strict=True)]
        overflow = truncation is not True
        encoded = tokenizer(
            *columns,
            truncation=truncation,
            max_length=limit,
            stride=limit // OVERLAP if overflow else 0,
            return_overflowing_tokens=overflow,
            verbose=False,
        )
        mapping = encoded.pop("overflow_to_sample_mapping", range(len(chosen)))
        rows += [chosen[index] for index in mapping]
        names = [name for name in tokenizer.model_input_names if name in encoded]
        windows += [
            dict(zip(names, values, strict=True))
            for values in zip(*(encoded[name] for name in names), strict=True)
        ]
    return windows, np.asarray(rows, dtype=np.intp)


def _group_by_truncation(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, cut: bool
) -> dict[str | bool, list[int]]:
    """Map the truncation strategy to its rows: the side that is split, or True for a plain cut."""
    everything = list(range(len(texts)))
    if not texts:
        return {}
    if not tokenizer.is_fast and not cut:
        logger.warning("long texts are cut: windows require a fast tokenizer")
    if cut or not tokenizer.is_fast:
        return {True: everything}
    if len(texts[0]) == 1:
        return {"only_first": everything}
    groups: dict[str | bool, list[int]] = {}
    limit = tokenizer.model_max_length
    # A window holds the whole shorter text, and more than it shares with the next window.
    room = limit - limit // OVERLAP - tokenizer.num_special_tokens_to_add(pair=True)
    for row, pair in enumerate(texts):
        lengths = [
            len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            for text in pair
        ]
        side: str | bool = "only_first" if lengths[0] > lengths[1] else "only_second"
        groups.setdefault(side if min(lengths) < room else True, []).append(row)
    if True in groups:
        logger.warning("%d pairs are cut: both of their texts are long", len(groups[True]))
    return groups


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
    lengths = np.array([len(window["input_ids"]) for window in windows], dtype=int)
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    config: Any = model.config
    labels: int = config.num_labels if label_sets is None else label_sets.num_labels
    found = np.full((len(windows), labels), -MAX_LOGIT_THRESHOLD, np.float32)
    device: Any = model.device
    call = model if mix_lengths else RowsByLength(model, tokenizer.pad_token_id)
    starts = range(0, len(order), batch_size)
    with without_autocast(model), first_token_only(model):
        for start in tqdm(
            starts, desc="classify", unit="batch", disable=None if progress else True
        ):
            chosen = order[start : start + batch_size]
            batch = tokenizer.pad([windows[index] for index in chosen], return_tensors="pt")
            texts = f"texts of up to {lengths[chosen[0]]} tokens"
            with (
                explain_failure(model, texts),
                torch.autocast(device.type, torch.bfloat16, enabled=bfloat16),
            ):
                outputs: Any = call(**batch.to(device))
            logits = outputs.logits.float()
            if label_sets is not None:
                members = torch.from_numpy(label_sets.members()).to(logits.device)
                logits = powerset_label_scores(logits, members)
            found[chosen] = logits.cpu().numpy()
    return found


def merge_windows(
    logits: NDArray[np.float32], rows: NDArray[np.intp], count: int, how: LongTexts
) -> NDArray[np.float32]:
    """Return the logits of ``count`` texts: the maximum or mean over the windows of each."""
    if how == "mean":
        merged = np.zeros((count, logits.shape[1]), np.float32)
        np.add.at(merged, rows, logits)
        merged /= np.bincount(rows, minlength=count)[:, None]
        return merged
    merged = np.full((count, logits.shape[1]), -np.inf, np.float32)
    np.maximum.at(merged, rows, logits)
    return merged
