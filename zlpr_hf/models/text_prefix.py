"""A prefix before every text, such as ``query: ``, as part of the tokenizer."""

from __future__ import annotations

import tempfile
from typing import Any

from tokenizers import Tokenizer, normalizers
from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from zlpr_hf.errors import InputError

KEY = "text_prefix"
"""Key in ``tokenizer_config.json``, for readers; the prefix itself is in ``tokenizer.json``."""
PROBE = "a text"


def add_text_prefix(
    tokenizer: PreTrainedTokenizerBase, prefix: str, config: PretrainedConfig
) -> PreTrainedTokenizerBase:
    """Return a tokenizer that puts a prefix before every text, wherever it is loaded.

    The prefix is the first normalizer of ``tokenizer.json``, so that stock pipelines, ONNX Runtime
    and other servers add it too, and no request has to hold it. Of a long text that is read in
    windows, the first one has it. The prefix of an earlier training is replaced.

    Raises:
        InputError: If the prefix is empty, the tokenizer has no ``tokenizer.json``, or the family
            of the model would load it without the prefix.
    """
    if not prefix.strip():
        raise InputError(f"text_prefix: expected some words, got {prefix!r}")
    earlier = tokenizer.init_kwargs.get(KEY)
    if prefix == earlier:
        return tokenizer
    if not tokenizer.is_fast:
        raise InputError(f"text_prefix requires a fast tokenizer, got {type(tokenizer).__name__}")
    backend: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own = _without_prefix(backend.normalizer, earlier)
    steps = [normalizers.Prepend(prefix)] + ([] if own is None else [own])
    backend.normalizer = normalizers.Sequence(steps)
    # Classes of single families build their own normalizer, and drop that of the file.
    found: PreTrainedTokenizerBase = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        **tokenizer.special_tokens_map,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        model_input_names=list(tokenizer.model_input_names),
        split_special_tokens=True,
    )
    found.init_kwargs[KEY] = prefix
    _check_reload(found, config, expected=_ids_with(tokenizer, earlier, prefix))
    return found


def _without_prefix(normalizer: Any, earlier: str | None) -> Any:
    """Return the normalizer of the encoder: the second step if an earlier prefix is the first."""
    if earlier is None:
        return normalizer
    return normalizer[1] if len(normalizer) > 1 else None


def _ids_with(tokenizer: Any, earlier: str | None, prefix: str) -> list[int] | None:
    """Return the ids of the prefix and a text, typed out; None if the tokenizer adds another."""
    return None if earlier else tokenizer(prefix + PROBE)["input_ids"]


def _check_reload(
    tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, *, expected: list[int] | None
) -> None:
    """Refuse a tokenizer that stock transformers would load without the prefix."""
    ids = tokenizer(PROBE)["input_ids"]
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)(PROBE)["input_ids"]
    if loaded != ids or (expected is not None and ids != expected):
        raise InputError(
            f"text_prefix: not supported for the tokenizer of {config.model_type}; put the prefix "
            "into the texts of your data instead"
        )
