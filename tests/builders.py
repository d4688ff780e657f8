"""Tiny encoders, tokenizers and rows, built here, so that no test needs the network."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from benchmarks.tiny_models import bert_template

COLOURS = ["red", "green", "blue"]
OTHERS = "sky grass sea and the is a dog cat bird fish runs sleeps big small".split()
WORDS = [*COLOURS, *OTHERS]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that splits at spaces and knows ``WORDS``."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vocabulary = {name: index for index, name in enumerate(names)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = bert_template()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_config(**changes: object) -> BertConfig:
    settings = {
        "vocab_size": 4 + len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    return BertConfig(**(settings | changes))


def save_encoder(folder: Path, **changes: object) -> None:
    """Write an encoder with its tokenizer, as a user would name it in ``model_name_or_path``."""
    torch.manual_seed(0)
    BertForSequenceClassification(tiny_config(**changes)).base_model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def make_colour_rows() -> list[dict[str, object]]:
    """Rows that a tiny model can learn: a label is the colour word in the text."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(120):
        flags = torch.rand(3, generator=generator) < 0.5
        present = [colour for colour, flag in zip(COLOURS, flags.tolist(), strict=True) if flag]
        others = [OTHERS[int(i)] for i in torch.randint(15, (4,), generator=generator)]
        rows.append({"text": " ".join(present + others), "labels": present})
    return rows
