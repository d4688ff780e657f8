"""The features that the head reads, on several families of encoders."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families import FAMILIES, save_family
from zlpr_hf import LabelSpace, load_model
from zlpr_hf.models.head import classification_head, kept_head_inputs, of_last_token


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_kept_features_give_the_logits(family: str, tmp_path: Path) -> None:
    model: Any = load_model(str(save_family(family, tmp_path)), LabelSpace(("a", "b", "c")))
    model.train()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 20, (4, 6), generator=generator)
    ids[:, -1] = 3  # BART reads the last token, and wants it to be this one
    mask = torch.ones_like(ids)
    kept: list[torch.Tensor] = []
    with kept_head_inputs(model, kept):
        logits = model(ids, attention_mask=mask).logits
    features = of_last_token(kept[0], mask)
    torch.testing.assert_close(classification_head(model)(features), logits)
    features.sum().backward()
    assert any(each.grad is not None for each in model.base_model.parameters())
    model(ids, attention_mask=mask)
    assert len(kept) == 1
