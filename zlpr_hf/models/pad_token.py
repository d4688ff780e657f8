"""The token that fills up batches: the model and its tokenizer must take the same one."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase


def has_pad_token(config: PretrainedConfig) -> bool:
    """Whether a model names the token that fills up its batches."""
    return getattr(config.get_text_config(), "pad_token_id", None) is not None


def match_pad_token(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Give the tokenizer the pad token of the model, or the model that of the tokenizer.

    Decoders read the last token that is no padding, and RoBERTa and others count positions by it:
    with two pad tokens, the logits of a text would depend on the texts beside it.
    """
    text_config: Any = config.get_text_config()
    wanted: Any = getattr(text_config, "pad_token_id", None)  # Perceiver has none
    known = isinstance(wanted, int) and 0 <= wanted < len(tokenizer)
    token = tokenizer.convert_ids_to_tokens(wanted) if known else None
    if token is None:
        text_config.pad_token_id = tokenizer.pad_token_id
    elif tokenizer.pad_token_id != wanted:
        tokenizer.pad_token = token
