"""Texts to model inputs: token ids per row, and rows to padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from zlpr_hf.data.split_rows import ROW_WEIGHT
from zlpr_hf.data.targets import dense_targets, padded_ids
from zlpr_hf.errors import InputError


def encode(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, max_length: int, description: str
) -> Dataset:
    """Tokenise the texts; padding is left to the collator.

    Args:
        rows: Rows with ``text`` and optionally ``text_pair``; other columns are kept.
        tokenizer: The model's tokenizer.
        max_length: Longest sequence in tokens; longer texts are cut at the end.
        description: Title of the progress bar.

    Returns:
        The rows with the tokenizer's outputs, ``length`` (tokens after the cut) and ``truncated``
        (whether something was cut) in place of the texts.
    """
    limit = tokenizer.model_max_length
    if not 2 < max_length <= limit:
        raise InputError(f"max_length: expected 3 to {limit} for this model, got {max_length}")

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, Any]:
        texts, pairs = batch["text"], batch.get("text_pair")
        columns = dict(tokenizer(texts, pairs, truncation=True, max_length=max_length))
        lengths = [len(ids) for ids in columns["input_ids"]]
        _check_tokens(lengths, batch.get("row"))
        # Only texts that fill the limit can have been cut: those are tokenised again, uncut.
        full = [index for index, length in enumerate(lengths) if length == max_length]
        truncated = [False] * len(texts)
        if full:
            again = [texts[index] for index in full]
            others = None if pairs is None else [pairs[index] for index in full]
            whole = tokenizer(again, others, truncation=False, verbose=False)["input_ids"]
            for index, ids in zip(full, whole, strict=True):
                truncated[index] = len(ids) > max_length
        return columns | {"length": lengths, "truncated": truncated}

    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    return rows.map(tokenise, batched=True, remove_columns=texts, desc=description)


def _check_tokens(lengths: Sequence[int], rows: Sequence[int] | None) -> None:
    """Refuse texts without tokens: tokenizers of decoders add none to an empty text."""
    if 0 in lengths:
        where = "" if rows is None else f"row {rows[lengths.index(0)]}: "
        raise InputError(
            f"{where}the text has no tokens: it is empty, and the tokenizer of this model adds "
            "none; remove the row"
        )


@dataclass(frozen=True)
class MultiLabelCollator:
    """Pad a batch and turn its labels into targets; rows that are streamed are tokenised first.

    Args:
        tokenizer: The model's tokenizer; it knows how to pad its inputs.
        num_labels: Number of labels, ``L``.
        as_ids: Pass labels on as ids, for a large label space; hard labels only.

    Shape:
        Result: token inputs ``(B, T)``, ``labels`` ``(B, L)`` in float32, NaN where not known, and
        ``teacher_logits`` ``(B, L)`` and ``row_weight`` ``(B,)`` if the rows have them. With
        ``as_ids``: ``labels`` ``(B, K)`` in int64, padded with ``-100``.
    """

    tokenizer: PreTrainedTokenizerBase
    num_labels: int
    as_ids: bool = False

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.tokenizer.pad(self._inputs(features), return_tensors="pt"))
        if self.as_ids:
            batch["labels"] = torch.from_numpy(padded_ids([row["label_ids"] for row in features]))
        elif "label_ids" in features[0]:
            targets = dense_targets(
                [row["label_ids"] for row in features],
                [row["label_values"] for row in features],
                self.num_labels,
            )
            batch["labels"] = torch.from_numpy(targets)
        for name in ("teacher_logits", ROW_WEIGHT):
            if name in features[0]:
                values = [row[name] for row in features]
                batch[name] = torch.tensor(values, dtype=torch.float32)
        return batch

    def _inputs(self, features: list[dict[str, Any]]) -> Any:
        names = self.tokenizer.model_input_names
        if "text" not in features[0]:
            return [{name: row[name] for name in names if name in row} for row in features]
        pairs = [row["text_pair"] for row in features] if "text_pair" in features[0] else None
        encoded = self.tokenizer([row["text"] for row in features], pairs, truncation=True)
        _check_tokens([len(ids) for ids in encoded["input_ids"]], None)
        return encoded
