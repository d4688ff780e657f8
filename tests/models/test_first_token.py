"""Skipping unused tokens changes neither logits nor gradients, and is undone afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from tests.builders import tiny_config
from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.models.lora import add_lora
from zlpr_hf.models.pooling import append_pooling_layer

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}


def _bert() -> PreTrainedModel:
    return BertForSequenceClassification(tiny_config(num_labels=3))


def _mean_pooled() -> PreTrainedModel:
    model = _bert()
    append_pooling_layer(model)
    return model


def _roberta() -> PreTrainedModel:
    return RobertaForSequenceClassification(RobertaConfig(**SIZES))


def _xlm_roberta() -> PreTrainedModel:
    return XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES))


def _camembert() -> PreTrainedModel:
    return CamembertForSequenceClassification(CamembertConfig(**SIZES))


def _adapted() -> PreTrainedModel:
    return add_lora(_bert(), name="tiny", rank=2, alpha=4, dropout=0.0, target_modules=None)


def _adapted_roberta() -> PreTrainedModel:
    return add_lora(_roberta(), name="tiny", rank=2, alpha=4, dropout=0.0, target_modules=None)


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
@pytest.mark.parametrize(
    "build",
    [_bert, _mean_pooled, _roberta, _xlm_roberta, _camembert, _adapted, _adapted_roberta],
)
def test_logits_and_gradients_are_unchanged(
    build: Callable[[], PreTrainedModel], attention: str
) -> None:
    torch.manual_seed(0)
    model = build().eval()
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
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


class _MeanOfTokens(nn.Module):
    """In place of a pooler: reads all tokens."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.mean(1)


class _DerivedForSequenceClassification(BertForSequenceClassification):
    """A class that could read all tokens."""


def _distilbert() -> PreTrainedModel:
    config = DistilBertConfig(vocab_size=40, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    return DistilBertForSequenceClassification(config)


def _derived() -> PreTrainedModel:
    return _DerivedForSequenceClassification(tiny_config(num_labels=3))


def _with_a_pooler_of_its_own() -> PreTrainedModel:
    model = BertForSequenceClassification(tiny_config(num_labels=3))
    model.bert.pooler = _MeanOfTokens()  # type: ignore[assignment]
    return model


def _in_chunks() -> PreTrainedModel:
    config = tiny_config(num_labels=3)
    config.chunk_size_feed_forward = 3
    return BertForSequenceClassification(config)


def _with_hidden_states() -> PreTrainedModel:
    return BertForSequenceClassification(tiny_config(num_labels=3, output_hidden_states=True))


@pytest.mark.parametrize(
    "build",
    [_distilbert, _derived, _with_a_pooler_of_its_own, _in_chunks, _with_hidden_states],
)
def test_models_that_may_read_all_tokens_are_left_alone(
    build: Callable[[], PreTrainedModel],
) -> None:
    torch.manual_seed(0)
    model, inputs = build().eval(), _inputs()
    logits, _ = _logits_and_gradients(model, inputs)
    with first_token_only(model):
        assert model.base_model(**inputs)[0].shape[:2] == inputs["input_ids"].shape
        assert torch.equal(_logits_and_gradients(model, inputs)[0], logits)


def test_plain_modules_are_left_alone() -> None:
    with first_token_only(nn.Linear(2, 2)):
        pass


def test_the_model_is_restored_after_an_error() -> None:
    model, inputs = _bert().eval(), _inputs()
    with pytest.raises(KeyError), first_token_only(model):
        raise KeyError
    assert model.base_model(**inputs)[0].shape[:2] == inputs["input_ids"].shape
