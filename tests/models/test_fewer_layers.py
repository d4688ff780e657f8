"""A model with fewer layers computes as the layers that are left, and reloads as a stock one."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tests.builders import make_tokenizer, tiny_config
from tests.families import save_family
from zlpr_hf import InputError, LabelSpace, load_model
from zlpr_hf.models.fewer_layers import keep_layers
from zlpr_hf.models.first_token import first_token_only

LABELS = LabelSpace(("red", "green", "blue"))
TEXTS = ["red sky", "green grass and the sea"]


@torch.no_grad()
def compute_logits(model: PreTrainedModel) -> torch.Tensor:
    tokenizer = make_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    logits: torch.Tensor = model.eval()(**batch).logits
    return logits


@pytest.mark.parametrize(
    ("depth", "count", "kept"),
    [
        (6, 3, (0, 2, 5)),
        (6, 1, (0,)),
        (6, 6, range(6)),
        (5, 3, (0, 2, 4)),
        (12, 6, (0, 2, 4, 7, 9, 11)),
    ],
)
def test_kept_layers_are_spread_evenly(depth: int, count: int, kept: tuple[int, ...]) -> None:
    config = tiny_config(num_labels=3)
    config.num_hidden_layers = depth
    model = AutoModelForSequenceClassification.from_config(config)
    before = list(model.bert.encoder.layer)
    keep_layers(model, count)
    assert [before.index(layer) for layer in model.bert.encoder.layer] == list(kept)
    assert model.config.num_hidden_layers == count


@pytest.mark.parametrize(
    "family",
    ["bert", "deberta-v2", "distilbert", "electra", "gpt2", "modernbert", "qwen3"],
)
def test_saved_model_is_a_stock_one(family: str, tmp_path: Path) -> None:
    model = load_model(str(save_family(family, tmp_path / "encoder")), LABELS)
    whole = compute_logits(model)
    keep_layers(model, 1)
    logits = compute_logits(model)
    assert not torch.allclose(logits, whole)
    model.save_pretrained(tmp_path / "small")
    stock, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "small", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(compute_logits(stock), logits)


def test_added_layer_stays_and_does_not_count(tmp_path: Path) -> None:
    model = load_model(str(save_family("bert", tmp_path / "encoder")), LABELS, pooling="mean")
    pooling = model.bert.encoder.layer[-1]
    model.save_pretrained(tmp_path / "trained")
    keep_layers(model, 1)
    assert model.config.num_hidden_layers == 2
    assert model.bert.encoder.layer[1] is pooling
    with first_token_only(model):
        fast = compute_logits(model)
    torch.testing.assert_close(compute_logits(model), fast)
    again = load_model(str(tmp_path / "trained"), LABELS)
    keep_layers(again, 1)
    torch.testing.assert_close(compute_logits(again), fast)


@pytest.mark.parametrize(("family", "count"), [("bert", 3), ("albert", 1), ("bart", 1)])
def test_impossible_layers_are_one_error(family: str, count: int, tmp_path: Path) -> None:
    model = load_model(str(save_family(family, tmp_path)), LABELS)
    with pytest.raises(InputError, match="keep_layers"):
        keep_layers(model, count)
