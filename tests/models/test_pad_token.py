"""Model and tokenizer fill up batches with the same token, so that a text has one result."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests.builders import make_tokenizer
from tests.families import SIZES, save_family
from tests.training.builders import arguments
from zlpr_hf import LabelSpace, ZLPRTrainer, load_model, load_tokenizer
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.pad_token import match_pad_token

TEXTS = ["red", "the sea is big", "a small green dog runs and a blue fish sleeps"]
LABELS = LabelSpace(("red", "green", "blue"))


def save_decoder(folder: Path, pad_token_id: int | None) -> None:
    """A classifier whose configuration has this pad token; that of its tokenizer is 0."""
    save_family("gpt2", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, problem_type="multi_label_classification"
    )
    model.config.pad_token_id = pad_token_id
    model.save_pretrained(folder)


def logits_one_by_one(folder: Path) -> np.ndarray:
    """Logits of the stock model, which needs no padding for a single text."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([tokenizer(each)["input_ids"]])) for each in TEXTS]
    return torch.cat([row.logits for row in rows]).numpy()


@pytest.mark.parametrize("pad_token_id", [0, 3, None, -1, 999])
def test_decoder_reads_a_text_alike_alone_and_in_a_batch(
    pad_token_id: int | None, tmp_path: Path
) -> None:
    save_decoder(tmp_path, pad_token_id)
    expected = logits_one_by_one(tmp_path)
    loaded = Classifier.load(tmp_path)
    np.testing.assert_allclose(loaded.compute_logits(TEXTS), expected, atol=1e-5)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    wrapped = Classifier.from_model(stock, AutoTokenizer.from_pretrained(tmp_path))
    np.testing.assert_allclose(wrapped.compute_logits(TEXTS), expected, atol=1e-5)


def test_trainer_reads_a_text_alike_alone_and_in_a_batch(tmp_path: Path) -> None:
    save_decoder(tmp_path, 3)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    trainer = ZLPRTrainer(
        AutoModelForSequenceClassification.from_pretrained(tmp_path),
        arguments(tmp_path),
        processing_class=tokenizer,
    )
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in TEXTS]
    found = trainer.predict(rows).predictions
    np.testing.assert_allclose(found, logits_one_by_one(tmp_path), atol=1e-5)


def test_positions_of_roberta_are_the_same_after_training_and_saving(tmp_path: Path) -> None:
    """Its positions start after the pad token, which transformers takes from the tokenizer."""
    torch.manual_seed(0)
    model = RobertaForSequenceClassification(RobertaConfig(**SIZES | {"pad_token_id": 1}))
    model.base_model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)  # its pad token is 0
    tokenizer = load_tokenizer(str(tmp_path))
    loaded = load_model(str(tmp_path), LABELS, pooling="first")
    rows = [{"input_ids": tokenizer(text)["input_ids"], "labels": [1, 0, 1]} for text in TEXTS]
    settings = arguments(tmp_path, per_device_train_batch_size=3, num_train_epochs=1)
    trainer = ZLPRTrainer(loaded, settings, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    again = Classifier.load(tmp_path / "saved")
    expected = trainer.predict(rows).predictions
    np.testing.assert_allclose(again.compute_logits(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(("wanted", "expected"), [(0, 0), (3, 3), (None, 0), (-1, 0), (999, 0)])
def test_pad_token_is_that_of_the_model_if_the_tokenizer_knows_it(
    wanted: int | None, expected: int
) -> None:
    tokenizer: PreTrainedTokenizerBase = make_tokenizer()
    config = RobertaConfig(**SIZES)
    config.pad_token_id = wanted
    match_pad_token(tokenizer, config)
    assert tokenizer.pad_token_id == config.pad_token_id == expected
