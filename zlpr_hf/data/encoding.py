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
        texts, pairs = batch["text"], batch.get("text_pair")
        columns = dict(tokenizer(texts, pairs, truncation=True, max_length=max_length))
        lengths = [len(ids) for ids in columns["input_ids"]]
        # Only a text that fills the limit can have been cut; those are measured once more.
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
