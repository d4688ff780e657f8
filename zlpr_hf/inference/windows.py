"""Long texts as windows that overlap, instead of cutting them silently."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from zlpr_hf.choices import LongTexts

logger = logging.getLogger(__name__)

Texts = Sequence[tuple[str, ...]]
"""A text a row, or two for pairs."""

OVERLAP = 4
"""Windows overlap by this part of their length: a quarter."""


def split_into_windows(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, *, cut: bool
) -> tuple[list[dict[str, list[int]]], NDArray[np.intp]]:
    """Model inputs of all windows, without padding.

    Of a pair the longer text is read in windows, each beside the whole of the shorter one.

    Args:
        tokenizer: ``model_max_length`` is the length of a window.
        texts: One text a row, or two for pairs.
        cut: Whether to take the first window only.

    Shape:
        Rows: ``(W,)`` for ``W`` windows.

    Returns:
        The windows, and the row that each belongs to.
    """
    limit = tokenizer.model_max_length
    windows: list[dict[str, list[int]]] = []
    rows: list[int] = []
    for truncation, chosen in _truncations(tokenizer, texts, cut).items():
        columns = [list(column) for column in zip(*(texts[row] for row in chosen), strict=True)]
        overflow = truncation is not True
        found = tokenizer(
            *columns,
            truncation=truncation,
            max_length=limit,
            stride=limit // OVERLAP if overflow else 0,
            return_overflowing_tokens=overflow,
            verbose=False,
        )
        mapping = found.pop("overflow_to_sample_mapping", range(len(chosen)))
        rows += [chosen[index] for index in mapping]
        names = [name for name in tokenizer.model_input_names if name in found]
        windows += [
            dict(zip(names, values, strict=True))
            for values in zip(*(found[name] for name in names), strict=True)
        ]
    return windows, np.asarray(rows, dtype=np.intp)


def gather_windows(
    found: NDArray[np.float32], rows: NDArray[np.intp], count: int, how: LongTexts
) -> NDArray[np.float32]:
    """Logits of texts from those of their windows.

    Args:
        found: Logits of the windows.
        rows: The text that each window belongs to.
        count: Number of texts.
        how: ``max`` for the largest of the windows, ``mean`` for their mean; of texts that were
            cut there is one window each.

    Shape:
        found: ``(W, L)``. rows: ``(W,)``. Result: ``(count, L)``.

    Returns:
        Logits in float32.
    """
    if how == "mean":
        sums = np.zeros((count, found.shape[1]), np.float32)
        np.add.at(sums, rows, found)
        sums /= np.bincount(rows, minlength=count)[:, None]
        return sums
    logits = np.full((count, found.shape[1]), -np.inf, np.float32)
    np.maximum.at(logits, rows, found)
    return logits


def _truncations(
    tokenizer: PreTrainedTokenizerBase, texts: Texts, cut: bool
) -> dict[str | bool, list[int]]:
    """Which side of each row is read in windows; True where neither can be."""
    everything = list(range(len(texts)))
    if not texts:
        return {}
    if not tokenizer.is_fast and not cut:
        logger.warning("long texts are cut: windows need a fast tokenizer")
    if cut or not tokenizer.is_fast:
        return {True: everything}
    if len(texts[0]) == 1:
        return {"only_first": everything}
    chosen: dict[str | bool, list[int]] = {}
    limit = tokenizer.model_max_length
    # A window must hold the shorter text whole, and more than what it shares with the next.
    room = limit - limit // OVERLAP - tokenizer.num_special_tokens_to_add(pair=True)
    for row, pair in enumerate(texts):
        lengths = [
            len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            for text in pair
        ]
        side: str | bool = "only_first" if lengths[0] > lengths[1] else "only_second"
        chosen.setdefault(side if min(lengths) < room else True, []).append(row)
    if True in chosen:
        logger.warning("%d pairs are cut: both texts are long", len(chosen[True]))
    return chosen
