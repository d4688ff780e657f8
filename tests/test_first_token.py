"""Without the tokens nobody reads: the same logits and gradients, and all as before afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests.conftest import tiny_config
from zlpr_hf.first_token import first_token_only
from zlpr_hf.lora import add_lora
from zlpr_hf.pooling import append_pooling_layer

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def _bert() -> PreTrainedModel:
    return BertForSequenceClassification(tiny_config(num_labels=3))


def _mean_pooled() -> PreTrainedModel:
    model = _bert()
    append_pooling_layer(model)
    return model


def _roberta() -> PreTrainedModel:
    config = RobertaConfig(**SIZES, num_labels=3, max_position_embeddings=40)
    return RobertaForSequenceClassification(config)


def _adapted() -> PreTrainedModel:
    return add_lora(_bert(), name="tiny", rank=2, alpha=4, dropout=0.0, target_modules=None)


def _inputs() -> dict[str, Tensor]:
    ids = torch.randint(4, 20, (5, 9))
    mask = torch.ones_like(ids)
    mask[1:3, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _logits_and_gradients(
    model: PreTrainedModel, inputs: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    logits = model(**inputs).logits
    logits.square().sum().backward()
    named = model.named_parameters()
    return logits.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("build", [_bert, _mean_pooled, _roberta, _adapted])
def test_logits_and_gradients_are_the_same(
    build: Callable[[], PreTrainedModel], attention: str
) -> None:
    torch.manual_seed(0)
    model = build().eval()
    inner = model.get_base_model() if build is _adapted else model
    inner.set_attn_implementation(attention)
    inputs = _inputs()
    logits, gradients = _logits_and_gradients(model, inputs)
    with first_token_only(model):
        found, found_gradients = _logits_and_gradients(model, inputs)
        assert inner.base_model(**inputs)[0].shape[1] == 1
    torch.testing.assert_close(found, logits, atol=1e-6, rtol=1e-5)
    assert gradients.keys() == found_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, atol=1e-5, rtol=1e-4)
    again, _ = _logits_and_gradients(model, inputs)
    assert torch.equal(again, logits)


def test_models_without_such_layers_are_left_alone() -> None:
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=40, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    model = DistilBertForSequenceClassification(config).eval()
    inputs = _inputs()
    with first_token_only(model):
        assert model.base_model(**inputs)[0].shape[:2] == inputs["input_ids"].shape
    with first_token_only(torch.nn.Linear(2, 2)):
        pass
