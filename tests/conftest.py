"""Tiny models and tokenizers, built here, so that no test needs the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import json
import signal
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from zlpr_hf import LabelSpace, Report
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.finetune import finetune_config

COLOURS = ["red", "green", "blue"]
OTHERS = "sky grass sea and the is a dog cat bird fish runs sleeps big small".split()
torch.set_num_threads(1)  # tiny models: a second thread only waits for the first
# A shell that runs tests in the background has interrupts ignored, and processes started from here
# would inherit that: those that are to be interrupted would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


FAST = [
    "--num_train_epochs=12", "--per_device_train_batch_size=8", "--learning_rate=5e-3",
    "--head_learning_rate=1e-2", "--pooling=mean",
    "--max_length=16", "--train_sampling_strategy=group_by_length", "--save_strategy=steps",
    "--save_steps=5", "--logging_strategy=epoch", "--test_size=0.25", "--bf16=false",
]  # fmt: skip


def run(argv: list[str], folder: Path, *more: str) -> Report:
    """Fine-tune without printing."""
    config = parse_arguments([*argv, f"--output_dir={folder}", *more])
    return finetune_config(config, log=lambda text: None)


@pytest.fixture(scope="session")
def command(
    encoder_dir: Path,
    colour_rows: list[dict[str, object]],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[str]:
    """Options of a run that takes seconds."""
    data = tmp_path_factory.mktemp("data") / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in colour_rows))
    return [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *FAST]


@pytest.fixture(scope="session")
def finished(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A finished run and its report. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(command, folder)
