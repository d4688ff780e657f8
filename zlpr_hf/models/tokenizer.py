"""Load and check the tokenizer of a model."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from zlpr_hf.errors import InputError
from zlpr_hf.models.lengths import limit_to_positions
from zlpr_hf.models.loading_errors import explain_loading_error, loading_error
from zlpr_hf.models.pad_token import has_pad_token, match_pad_token
from zlpr_hf.models.paths import find_model, hub_options
from zlpr_hf.models.text_prefix import add_text_prefix

SCRIPTS = "red 1 \u0430 \u4e00"
"""Characters of which any tokenizer knows some."""


def load_tokenizer(
    name: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    text_prefix: str | None = None,
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Args:
        name: Hub id, folder, or ``package:MODULE/FOLDER`` for a Python package with weights in it.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code from the model's folder or repository.
        text_prefix: Words before every text, such as ``"query: "``, that the tokenizer adds from
            now on, also in stock pipelines (default: those that the model was trained with, if
            any).

    Returns:
        A tokenizer whose ``model_max_length`` is at most the number of positions of the model.

    Raises:
        InputError: If the tokenizer cannot be loaded, has far fewer tokens than the encoder, or
            takes no prefix.

    Example:
        >>> tokenizer = load_tokenizer("google-bert/bert-base-uncased")
        >>> len(tokenizer("a small cat").input_ids)  # three words and two special tokens
        5
    """
    path = find_model(name, revision)
    options = hub_options(revision, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(path, **options)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, **options)
    except (ImportError, OSError, ValueError) as error:
        raise loading_error(name, error) from error
    vocabulary = getattr(config, "vocab_size", 0)
    if 2 * len(tokenizer) < vocabulary:
        # Without its files transformers builds a tokenizer that knows the special tokens only.
        raise InputError(
            f"model {name!r}: the tokenizer knows {len(tokenizer)} tokens, the encoder "
            f"{vocabulary}; are the tokenizer's files (tokenizer.json) missing?"
        )
    _check_tokenizer(name, tokenizer)
    _set_pad_token(name, tokenizer, config)
    match_pad_token(tokenizer, config)
    read_special_tokens_as_text(tokenizer)
    if text_prefix is not None:
        tokenizer = add_text_prefix(tokenizer, text_prefix, config)
    limit_to_positions(tokenizer, config, trust_remote_code=trust_remote_code)
    return tokenizer


def _check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    kind = f"model {name!r}: its tokenizer, loaded as {type(tokenizer).__name__},"
    try:
        ids = tokenizer(SCRIPTS, add_special_tokens=False)["input_ids"]
    except (AssertionError, TypeError, ValueError) as error:  # it needs a table, boxes or nodes
        raise InputError(f"{kind} takes no plain texts: {explain_loading_error(error)}") from error
    if not ids:
        raise InputError(
            f"{kind} finds no token in {SCRIPTS!r}; are its files those of another kind of "
            "tokenizer?"
        )


def read_special_tokens_as_text(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let special tokens that are typed in a text be text, here and in a stock pipeline."""
    tokenizer.split_special_tokens = True
    tokenizer.init_kwargs["split_special_tokens"] = True  # saved with the tokenizer


def _set_pad_token(name: str, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Let another special token fill up batches where there is no pad token, as in GPT-2.

    A token that the tokenizer adds to every text will not do: decoders read the last other one. A
    model that has no pad token itself, such as Qwen3-Embedding, was trained to read the added one.
    """
    added = tokenizer("")["input_ids"]
    others: tuple[str, ...] = ()
    if has_pad_token(config):
        match_pad_token(tokenizer, config)
    elif tokenizer.pad_token_id in added:
        others = (*tokenizer.get_added_vocab(), tokenizer.pad_token)
        tokenizer.pad_token = None
    if tokenizer.pad_token is not None:
        return
    size = getattr(config.get_text_config(), "vocab_size", len(tokenizer))
    for token in (tokenizer.eos_token, tokenizer.unk_token, *others):
        row: Any = size if token is None else tokenizer.convert_tokens_to_ids(token)
        if row not in added and row < size:
            tokenizer.pad_token = token
            return
    if others:  # there is no other token
        tokenizer.pad_token = others[-1]
        return
    raise InputError(
        f"model {name!r}: its tokenizer has no pad_token, and no eos_token or unk_token in its "
        "place; set pad_token in tokenizer_config.json"
    )
