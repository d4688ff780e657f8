"""Texts are cut at the tokens that a model can number, in any family and without a limit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from tests.builders import make_tokenizer
from tests.families import SIZES
from zlpr_hf import LabelSpace, load_model, load_tokenizer
from zlpr_hf.inference.classifier import Classifier

LABELS = LabelSpace(("red", "green"))
POSITIONS = 20
NUMBERED: dict[str, Any] = SIZES | {"max_position_embeddings": POSITIONS, "pad_token_id": 1}
FAMILIES: dict[str, Any] = {
    "bert": hf.BertConfig(**NUMBERED),
    "camembert": hf.CamembertConfig(**NUMBERED),
    "data2vec-text": hf.Data2VecTextConfig(**NUMBERED),
    "deberta-v2": hf.DebertaV2Config(**NUMBERED),
    "esm": hf.EsmConfig(**NUMBERED, position_embedding_type="absolute"),
    "ibert": hf.IBertConfig(**NUMBERED),
    "longformer": hf.LongformerConfig(**NUMBERED, attention_window=4),
    "luke": hf.LukeConfig(**NUMBERED, entity_vocab_size=5, entity_emb_size=8),
    "mpnet": hf.MPNetConfig(**NUMBERED),
    "nystromformer": hf.NystromformerConfig(**NUMBERED),
    "roberta": hf.RobertaConfig(**NUMBERED),
    "xmod": hf.XmodConfig(**NUMBERED, default_language="en_XX"),
}


def longest(model: Any) -> int:
    """Number of tokens that a model reads before it fails, found by trying."""
    for length in range(POSITIONS - 4, POSITIONS + 5):
        ids = torch.full((1, length), 5)
        try:
            with torch.no_grad():
                model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError):
            return length - 1
    return length


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_limit_is_the_longest_text_that_the_model_reads(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    hf.AutoModel.from_config(FAMILIES[family]).save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path)
    model = load_model(str(tmp_path), LABELS, pooling="first").eval()
    assert load_tokenizer(str(tmp_path)).model_max_length == longest(model)
    assert Classifier.from_model(model, tokenizer).tokenizer.model_max_length == longest(model)
    if family != "luke":  # it needs entities beside the text
        windows = Classifier.from_model(model, tokenizer).compute_logits(["red " * 50])
        assert np.isfinite(windows).all()


def test_text_is_read_whole_by_a_model_without_a_limit() -> None:
    torch.manual_seed(0)
    config = hf.XLNetConfig(
        d_model=32, n_layer=1, n_head=2, d_inner=48, vocab_size=22, num_labels=2, pad_token_id=0
    )
    model = hf.XLNetForSequenceClassification(config).eval()
    config.problem_type = "multi_label_classification"
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = int(1e30)
    text = "red sky " * 100
    with torch.no_grad():
        expected = model(**tokenizer(text, return_tensors="pt")).logits
    found = Classifier.from_model(model, tokenizer).compute_logits([text])
    np.testing.assert_allclose(found, expected, atol=1e-5)
