"""Texts to model inputs."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from zlpr_hf.errors import InputError


def encode(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, max_length: int, description: str
) -> Dataset:
    """Tokenise the texts; padding is left to the collator, batch by batch.

    Args:
        rows: Rows with ``text`` and perhaps ``text_pair``; other columns are kept.
        tokenizer: The model's tokenizer.
        max_length: Longest sequence in tokens; longer texts are cut at the end.
        description: What the progress bar says.

    Returns:
        The rows with the tokenizer's outputs, ``length`` (tokens that are kept, by which batches
        are grouped) and ``truncated`` (whether something was cut), but without the texts.
    """
    limit = tokenizer.model_max_length
    if not 2 < max_length <= limit:
        raise InputError(f"max_length: expected 3 to {limit} for this model, got {max_length}")

    def tokenise(batch: dict[str, list[Any]]) -> dict[str, Any]:
        pairs = batch.get("text_pair")
        encoded = tokenizer(
            batch["text"],
            pairs,
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_special_tokens_mask=False,
        )
        sample_of = encoded.pop("overflow_to_sample_mapping")
        # A cut text comes back in several pieces, the first of them is what the model reads.
        first = [
            index
            for index, sample in enumerate(sample_of)
            if index == 0 or sample != sample_of[index - 1]
        ]
        pieces = [0] * len(batch["text"])
        for sample in sample_of:
            pieces[sample] += 1
        columns = {name: [values[index] for index in first] for name, values in encoded.items()}
        return columns | {
            "length": [len(ids) for ids in columns["input_ids"]],
            "truncated": [count > 1 for count in pieces],
        }

    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    return rows.map(tokenise, batched=True, remove_columns=texts, desc=description)
