"""The probe of a model before training, and models whose logits depend on padding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.tiny_models import save_encoder
from tests.families import save_family
from tests.training.builders import arguments
from zlpr_hf import InputError, LabelSpace, ZLPRTrainer, load_model, load_tokenizer
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.probe import RowsByLength, check_model, explain_failure, padding_matters

LABELS = LabelSpace(("red", "green", "blue"))
TEXTS = ["red", "the sea is big", "a small green dog runs and a blue fish sleeps", "big dog"]


def load(class_name: str, folder: Path) -> tuple[Any, Any]:
    save_encoder(f"{class_name}ForSequenceClassification", folder)
    return load_model(str(folder), LABELS), load_tokenizer(str(folder))


def one_by_one(classifier: Classifier) -> np.ndarray[Any, Any]:
    return np.concatenate([classifier.compute_logits([text]) for text in TEXTS])


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("Bert", False),
        ("Llama", False),
        ("FNet", True),
        ("ConvBert", True),
        ("Yoso", True),
    ],
)
def test_padding_matters_for_models_that_read_it(
    class_name: str, expected: bool, tmp_path: Path
) -> None:
    model, tokenizer = load(class_name, tmp_path)
    assert padding_matters(model.eval(), tokenizer) is expected


@pytest.mark.parametrize("class_name", ["FNet", "ConvBert"])
def test_batches_have_the_logits_of_single_texts(class_name: str, tmp_path: Path) -> None:
    classifier = Classifier.from_model(*load(class_name, tmp_path))
    np.testing.assert_allclose(classifier.compute_logits(TEXTS), one_by_one(classifier), atol=1e-5)


@pytest.mark.parametrize("class_name", ["FNet", "ConvBert"])
def test_evaluation_has_the_logits_of_the_saved_model(class_name: str, tmp_path: Path) -> None:
    from datasets import Dataset

    model, tokenizer = load(class_name, tmp_path / "encoder")
    columns = {"text": TEXTS, "label_ids": [[0]] * 4, "label_values": [[1.0]] * 4}
    rows = encode(Dataset.from_dict(columns), tokenizer, max_length=16, description="")
    trainer = ZLPRTrainer(
        model,
        arguments(tmp_path / "run"),
        eval_dataset=rows,
        data_collator=MultiLabelCollator(tokenizer, 3),
        processing_class=tokenizer,
    )
    found = trainer.predict(rows).predictions
    expected = one_by_one(Classifier.from_model(model, tokenizer))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rows_by_length_take_padding_from_either_side() -> None:
    class Count(nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            assert attention_mask.all()
            logits = torch.stack([input_ids.sum(1), input_ids.new_full((len(input_ids),), 7)], 1)
            return type("Outputs", (), {"logits": logits.float()})

    ids = torch.tensor([[5, 0, 0], [0, 0, 6], [1, 2, 3], [4, 4, 0]])
    found = RowsByLength(Count(), 0)(input_ids=ids, attention_mask=(ids > 0).long())
    assert found.logits.tolist() == [[5, 7], [6, 7], [6, 7], [8, 7]]


@pytest.mark.parametrize(("family", "wrong"), [("gpt2", "left"), ("xlnet", "right")])
def test_padding_moves_to_the_side_that_the_model_expects(
    family: str, wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_family(family, tmp_path)
    model, tokenizer = load_model(str(folder), LABELS), load_tokenizer(str(folder))
    tokenizer.padding_side = wrong
    caplog.clear()
    check_model(model, tokenizer)
    assert tokenizer.padding_side != wrong
    assert len(caplog.records) == 1
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(str(folder)).padding_side != wrong


def test_probe_keeps_random_state_mode_and_weights(tmp_path: Path) -> None:
    model, tokenizer = load("Bert", tmp_path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    for mode in (True, False):
        check_model(model.train(mode), tokenizer)
        assert model.training is mode
    assert torch.random.get_rng_state().equal(state)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_model_that_reads_no_text_is_refused(tmp_path: Path) -> None:
    model, tokenizer = load("Bert", tmp_path)
    with torch.no_grad():
        for value in model.bert.parameters():
            value.zero_()
    with pytest.raises(InputError, match="BertForSequenceClassification"):
        check_model(model, tokenizer)


@pytest.mark.parametrize("class_name", ["Mra", "Reformer", "Xmod"])
def test_classes_that_cannot_train_on_texts_are_refused(class_name: str, tmp_path: Path) -> None:
    model, tokenizer = load(class_name, tmp_path)
    with pytest.raises(InputError, match=f"^{class_name}ForSequenceClassification"):
        check_model(model, tokenizer)


def test_only_errors_of_the_model_are_explained(tmp_path: Path) -> None:
    model, _ = load("Bert", tmp_path)
    expected = pytest.raises(InputError, match="BertForSequenceClassification cannot .* 3 texts")
    with expected, explain_failure(model, "3 texts"):
        model(input_ids=torch.tensor([[10**6]]))
    for error in (KeyError("row"), RuntimeError("CUDA out of memory")):
        with pytest.raises(type(error)), explain_failure(model):
            raise error
