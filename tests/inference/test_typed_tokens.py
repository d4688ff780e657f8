"""Special tokens in a text are text, and float32 means float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset

from tests.builders import make_tokenizer
from tests.families import save_family
from tests.training.builders import arguments, model, rows
from zlpr_hf import InputError, LabelSpace, ZLPRTrainer, load_model, load_tokenizer
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.autocast import without_autocast

LABELS = LabelSpace(("red", "green", "blue"))
TYPED = ["red dog [PAD] [PAD]", "red [SEP] sea", "[CLS] red", "red [UNK]", "[SEP]"]
SPECIAL = {0, 2, 3}  # [PAD], [CLS], [SEP]


@pytest.mark.parametrize("text", TYPED)
def test_typed_special_tokens_are_words(encoder_dir: Path, text: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(encoder_dir))
    row = Dataset.from_dict({"text": [text]})
    encoded = encode(row, tokenizer, max_length=16, description="x")["input_ids"][0]
    assert encoded[0] == 2
    assert encoded[-1] == 3
    assert not SPECIAL & set(encoded[1:-1])
    streamed = MultiLabelCollator(tokenizer, 3)([{"text": text}])["input_ids"][0].tolist()
    assert streamed == encoded
    tokenizer.save_pretrained(tmp_path)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == encoded


def test_classifier_and_stock_pipeline_read_typed_tokens_alike(
    finished: tuple[Path, Any],
) -> None:
    classifier = Classifier.load(finished[0])
    stock = transformers.pipeline("text-classification", str(finished[0]), top_k=None)
    logits = classifier.compute_logits(TYPED)
    for text, row in zip(TYPED, logits, strict=True):
        scores = {each["label"]: each["score"] for each in stock([text])[0]}
        expected = [scores[name] for name in classifier.label_space.names]
        np.testing.assert_allclose(1 / (1 + np.exp(-row)), expected, atol=1e-5)
    plain = make_tokenizer()
    wrapped = Classifier.from_model(classifier.model, plain)
    np.testing.assert_allclose(wrapped.compute_logits(TYPED), logits, atol=1e-6)


def test_typed_end_of_text_does_not_break_bart(tmp_path: Path) -> None:
    encoder = str(save_family("bart", tmp_path, eos_token="[SEP]"))
    classifier = Classifier.from_model(load_model(encoder, LABELS), load_tokenizer(encoder))
    texts = ["red dog", "blue [SEP] sea"]
    found = classifier.compute_logits(texts)
    alone = np.concatenate([classifier.compute_logits([text]) for text in texts])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_float32_is_exact_for_the_model_of_a_bfloat16_trainer(tmp_path: Path) -> None:
    trained = model()
    trained.config.problem_type = "multi_label_classification"
    ZLPRTrainer(trained, arguments(tmp_path, bf16=True), train_dataset=rows()).train()
    fresh = model()
    fresh.load_state_dict(trained.state_dict())
    fresh.config.problem_type = "multi_label_classification"
    texts = ["red dog", "green cat and the bird"]
    found, expected = (
        Classifier.from_model(each, make_tokenizer()).compute_logits(texts)
        for each in (trained, fresh)
    )
    np.testing.assert_array_equal(found, expected)
    with torch.autocast("cpu", torch.bfloat16):
        again = Classifier.from_model(trained, make_tokenizer()).compute_logits(texts)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision_are_refused(dtype: torch.dtype) -> None:
    half = model().to(dtype)
    half.config.problem_type = "multi_label_classification"
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=f"expected weights in float32, got {name}"):
        Classifier.from_model(half, make_tokenizer())
    double = model().double()
    double.config.problem_type = "multi_label_classification"
    assert Classifier.from_model(double, make_tokenizer()).compute_logits(["red"]).shape == (1, 3)


def test_threads_share_the_model_of_a_bfloat16_trainer(tmp_path: Path) -> None:
    """Blocks that overlap and end in another order compute in float32, and undo it."""
    trained = model()
    trainer = ZLPRTrainer(trained, arguments(tmp_path, bf16=True), train_dataset=rows())
    trainer.train()
    wrapped = trained.forward
    ids = torch.tensor([[5, 6]])
    first, second = without_autocast(trained), without_autocast(trained)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert trained(ids).logits.dtype == torch.float32
    assert trained.classifier(torch.ones(1, 32)).dtype == torch.float32
    assert trained.forward is not wrapped
    second.__exit__(None, None, None)
    assert trained.forward is wrapped
    assert not [name for name in vars(trained) if name.startswith("_zlpr") and vars(trained)[name]]
