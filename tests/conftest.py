"""Tiny models and tokenizers, built here, so that no test needs the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from zlpr_hf import LabelSpace

COLOURS = ["red", "green", "blue"]
OTHERS = "sky grass sea and the is a dog cat bird fish runs sleeps big small".split()
torch.set_num_threads(1)  # tiny models: a second thread only waits for the first

WORDS = [*COLOURS, *OTHERS]


def check_refused(
    argv: list[str], folder: Path, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``train.py`` ends with one line that says why, and has written nothing."""
    from train import main

    assert main([*argv, f"--output_dir={folder}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not folder.exists()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vocabulary = {name: index for index, name in enumerate(names)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
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


@pytest.fixture
def tiny_model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(tiny_config(num_labels=3))


@pytest.fixture(scope="session")
def encoder_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Path:
    """A saved encoder with tokenizer, as a user would name it in ``model_name_or_path``."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    BertForSequenceClassification(tiny_config()).base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def colours() -> LabelSpace:
    return LabelSpace(("red", "green", "blue"))


@pytest.fixture(scope="session")
def colour_rows() -> list[dict[str, object]]:
    """Rows that a tiny model can learn: a label is the colour word in the text."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(120):
        flags = torch.rand(3, generator=generator) < 0.5
        present = [colour for colour, flag in zip(COLOURS, flags.tolist(), strict=True) if flag]
        others = [OTHERS[int(i)] for i in torch.randint(15, (4,), generator=generator)]
        rows.append({"text": " ".join(present + others), "labels": present})
    return rows
