"""The features that the head reads, on several families of encoders."""

from pathlib import Path

import pytest
import torch

from tests.families import FAMILIES, load_family
from zlpr_hf.models.head import classification_head, kept_head_inputs, of_last_token


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_kept_features_give_the_logits(family: str, tmp_path: Path) -> None:
    model, ids = load_family(family, tmp_path, texts=4)
    model.train()
    mask = torch.ones_like(ids)
    with kept_head_inputs(model) as kept:
        logits = model(ids, attention_mask=mask).logits
    features = of_last_token(kept[0], mask)
    torch.testing.assert_close(classification_head(model)(features), logits)
    features.sum().backward()
    assert any(each.grad is not None for each in model.base_model.parameters())
    model(ids, attention_mask=mask)
    assert len(kept) == 1
