"""Edge cases of heads, rates of dropout, names of label sets and half precision."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.families import save_family
from zlpr_hf import (
    LabelSets,
    LabelSpace,
    compute_multi_label_metrics,
    load_model,
    load_tokenizer,
)
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_init import init_head_from_label_names


@pytest.mark.parametrize("family", ["bert", "bart", "distilbert", "gpt2", "xlnet"])
def test_dropout_sets_the_rates_of_all_layers(family: str, tmp_path: Path) -> None:
    model = load_model(
        str(save_family(family, tmp_path)), LabelSpace(("a", "b")), pooling="first", dropout=0.25
    )
    rates = [each.p for each in model.modules() if isinstance(each, torch.nn.Dropout)]
    assert rates
    assert set(rates) == {0.25}


@pytest.mark.parametrize("texts", [["red sky"], ["red sky"] * 3])
def test_head_from_label_names_is_finite_without_spread(
    texts: list[str], encoder_dir: Path, colours: LabelSpace
) -> None:
    model = load_model(str(encoder_dir), colours)
    init_head_from_label_names(model, load_tokenizer(str(encoder_dir)), colours, texts)
    head = classification_head(model)
    assert torch.isfinite(head.weight).all()
    assert head.weight.norm(dim=1).max() < 10
    assert torch.isfinite(head.bias).all()


@pytest.mark.parametrize(
    "names", [("a", "b", "a + b"), ("a", "b", "(no label)"), ("a", "b", '"a + b"')]
)
def test_names_of_label_sets_differ(names: tuple[str, ...]) -> None:
    sets = LabelSets(((), (0,), (1,), (0, 1), (2,), (0, 2)), 3)
    assert len(set(sets.output_space(LabelSpace(names)).names)) == 6


def test_infinite_float16_logits_have_the_metrics_of_float32() -> None:
    logits, targets = [[np.inf, -np.inf, 0.5], [-np.inf, 1.0, 2.0]], [[1, 0, 0], [0, 0, 1]]
    found = compute_multi_label_metrics(np.array(logits, np.float16), targets)
    assert found == compute_multi_label_metrics(np.array(logits, np.float32), targets)
