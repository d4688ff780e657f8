"""Decoders: heads without a bias, tokenizers without a pad token."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GPT2Config

from tests.families import save_family
from tests.runs import run
from zlpr_hf import InputError, LabelSpace, Thresholds, load_model, load_tokenizer
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.head import classification_head

DECODERS = ["gpt2", "llama"]
LABELS = LabelSpace(("red", "green", "blue"))
TEXTS = ["red", "the sea is big", "a small green dog runs and a blue fish sleeps"]


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = tmp_path / "decoder"
    save_family(request.param, folder, pad_token=None, eos_token="[SEP]")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Decoders add no token to a text.
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    tokenizer.save_pretrained(folder)
    return str(folder)


def stock_logits(folder: Path) -> np.ndarray[Any, Any]:
    """Logits of the stock classes, one text at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(found).numpy()


def test_run_equals_the_stock_model_one_by_one(
    decoder: str, command: list[str], tmp_path: Path
) -> None:
    more = [f"--model_name_or_path={decoder}", "--pooling=first", "--num_train_epochs=1"]
    run(command, tmp_path / "run", *more)
    expected = stock_logits(tmp_path / "run")
    found = Classifier.load(tmp_path / "run").compute_logits(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stock_model_without_pad_tokens_is_read_in_batches(decoder: str, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        decoder, num_labels=3, pad_token_id=None, problem_type="multi_label_classification"
    )
    model.config.pad_token_id = None
    model.save_pretrained(tmp_path / "stock")
    AutoTokenizer.from_pretrained(decoder).save_pretrained(tmp_path / "stock")
    found = Classifier.load(tmp_path / "stock").compute_logits(TEXTS)
    np.testing.assert_allclose(found, stock_logits(tmp_path / "stock"), atol=1e-5)


def test_public_fold_without_a_bias_is_refused(decoder: str) -> None:
    model = load_model(decoder, LABELS)
    head = classification_head(model)
    assert Thresholds((0.0,) * 3, 1).fold_into(head, model.config).min_labels == 1
    with pytest.raises(InputError, match="no bias"):
        Thresholds((0.1, 0.0, 0.0)).fold_into(head, model.config)


def save_without_pad_token(folder: Path, **tokenizer_changes: Any) -> Path:
    save_family("gpt2", folder, pad_token=None, **tokenizer_changes)
    config = GPT2Config.from_pretrained(folder)
    config.pad_token_id = None
    config.save_pretrained(folder)
    return folder


def test_pad_token_is_none_that_ends_every_text(tmp_path: Path) -> None:
    folder = save_without_pad_token(tmp_path, eos_token="[SEP]")
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer("red").input_ids[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id


@pytest.mark.parametrize("eos_token", ["[UNK]", "[SEP]"])
def test_embedding_model_keeps_the_token_that_it_reads(tmp_path: Path, eos_token: str) -> None:
    """Like Qwen3-Embedding: the pad token ends every text, and the model names none."""
    folder = save_without_pad_token(tmp_path, eos_token=eos_token)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "[SEP]"
    tokenizer.save_pretrained(folder)
    model, tokenizer = load_model(str(folder), LABELS), load_tokenizer(str(folder))
    assert tokenizer("red").input_ids[-1] != tokenizer.pad_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id
    Classifier(model, tokenizer).save(tmp_path / "saved", Thresholds())
    found = Classifier.load(tmp_path / "saved").compute_logits(TEXTS)
    np.testing.assert_allclose(found, stock_logits(tmp_path / "saved"), atol=1e-5)
    model.config.pad_token_id = 3  # the last token of every text, which is skipped now
    skipped = Classifier(model, tokenizer).compute_logits(TEXTS)
    assert np.abs(skipped - found).max() > 1e-4


def test_tokenizer_without_any_special_token_is_refused(tmp_path: Path) -> None:
    folder = save_without_pad_token(tmp_path, eos_token=None, unk_token=None)
    with pytest.raises(InputError, match="no pad_token"):
        load_tokenizer(str(folder))
