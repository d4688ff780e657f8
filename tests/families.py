"""Tiny random checkpoints of several model families, saved as encoders without a head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.builders import WORDS, make_tokenizer
from zlpr_hf import LabelSpace, load_model

VOCABULARY = 4 + len(WORDS)
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48,
    "max_position_embeddings": 64,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": 3,
    "bos_token_id": 2, "decoder_start_token_id": 3,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
    "pad_token_id": 0,
}  # fmt: skip
XLNET: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 48,
    "pad_token_id": 0,
}  # fmt: skip
DECODER: dict[str, Any] = SIZES | {"num_key_value_heads": 1}
FAMILIES: dict[str, Callable[[], Any]] = {
    "albert": lambda: hf.AlbertModel(hf.AlbertConfig(**SIZES, embedding_size=16)),
    "bart": lambda: hf.BartModel(hf.BartConfig(**BART)),
    "bert": lambda: hf.BertModel(hf.BertConfig(**SIZES)),
    "bert without pooler": lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)),
    "deberta-v2": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**SIZES)),
    "distilbert": lambda: hf.DistilBertModel(hf.DistilBertConfig(**DISTILBERT)),
    "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**SIZES, embedding_size=16)),
    "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(**GPT2)),
    "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**DECODER)),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(**SIZES, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3)
    ),
    "mpnet": lambda: hf.MPNetModel(hf.MPNetConfig(**SIZES | {"pad_token_id": 1})),
    "qwen3": lambda: hf.Qwen3Model(hf.Qwen3Config(**DECODER)),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**SIZES)),
    "xlnet": lambda: hf.XLNetModel(hf.XLNetConfig(**XLNET)),
}


def load_family(name: str, folder: Path, *, texts: int) -> tuple[Any, torch.Tensor]:
    """Return a classifier of three labels with an encoder of a family, and token ids of texts."""
    model = load_model(str(save_family(name, folder)), LabelSpace(("a", "b", "c")))
    batch = torch.randint(4, 20, (texts, 6), generator=torch.Generator().manual_seed(0))
    batch[:, -1] = 3  # BART reads the last token, and wants it to be this one
    return model, batch


def save_family(name: str, folder: Path, **tokenizer_changes: Any) -> Path:
    """Write an encoder of a family and its tokenizer; the same weights every time."""
    torch.manual_seed(0)
    FAMILIES[name]().save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    for attribute, value in tokenizer_changes.items():
        setattr(tokenizer, attribute, value)
    tokenizer.save_pretrained(folder)
    return folder
