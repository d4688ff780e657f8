"""Read long texts in overlapping windows, so that nothing is cut off silently; needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import LongTexts
from zlpr_hf.errors import InputError
from zlpr_hf.zlpr_config import ZLPRConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from zlpr_hf.inference.onnx_classifier import FastTokenizer

logger = logging.getLogger(__name__)

Texts = Sequence[tuple[str, ...]]
"""One text per row, or two for pairs."""

OVERLAP = 4
"""Neighbouring windows share one part in this many of their tokens: a quarter."""
NOT_STORED = (
    "the model does not say how to read long texts: %d of %d texts are longer than %d tokens and "
    "are cut there, as in a stock pipeline; long_texts max or mean reads them in windows"
)


def check_choice(option: str, value: object, choices: Any) -> None:
    """Refuse a value that is not one of the choices of an option, a ``Literal``."""
    if value not in get_args(choices):
        raise InputError(f"{option}: expected {' or '.join(get_args(choices))}, got {value!r}")


def stored_rule(config: Any) -> LongTexts | None:
    """Return how a model reads long texts, as its training chose; None if nothing is stored."""
    rule: Any = ZLPRConfig.read(config).long_texts
    if rule is not None and rule not in get_args(LongTexts):
        expected = ", ".join(get_args(LongTexts))
        raise InputError(f"config.json, long_texts: expected one of {expected}, got {rule!r}")
    found: LongTexts | None = rule
    return found


def count_long(tokenizer: PreTrainedTokenizerBase | FastTokenizer, texts: Texts) -> int:
    """Return the number of texts with more than ``model_max_length`` tokens."""
    if not texts:
        return 0
    columns = [list(column) for column in zip(*texts, strict=True)]
    whole = tokenizer(*columns, truncation=False, verbose=False)["input_ids"]
    return sum(len(ids) > tokenizer.model_max_length for ids in whole)


class CutWarning:
    """Warns once of a model that does not say how to read long texts, with their number."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | FastTokenizer) -> None:
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
    tokenizer: PreTrainedTokenizerBase | FastTokenizer, texts: Texts, *, cut: bool
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
    tokenizer: PreTrainedTokenizerBase | FastTokenizer, texts: Texts, cut: bool
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


def batches_by_length(
    windows: Sequence[dict[str, list[int]]], batch_size: int
) -> list[NDArray[np.intp]]:
    """Return the windows of each batch, from long to short, so that batches hold little padding.

    A window without tokens is in none.
    """
    lengths = np.array([len(window["input_ids"]) for window in windows], dtype=int)
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


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
