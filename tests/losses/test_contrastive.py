"""The contrastive loss against a sum over pairs, written out."""

import math

import numpy as np
import pytest
import torch

from zlpr_hf.losses.contrastive import contrastive_loss

TARGETS = torch.tensor([[1.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def draw_features(*, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 5, generator=generator), torch.randn(4, 5, generator=generator)


def sum_over_pairs(one: torch.Tensor, other: torch.Tensor, sets: list[set[int]]) -> list[float]:
    """Return the loss of each text, at temperature 0.05."""
    vectors = [np.asarray(each) / np.linalg.norm(each) for each in (*one.tolist(), *other.tolist())]
    texts = [*range(len(sets))] * 2
    values = []
    for i, (vector, text) in enumerate(zip(vectors, texts, strict=True)):
        others = [j for j in range(len(vectors)) if j != i]
        total = sum(math.exp(vector @ vectors[j] / 0.05) for j in others)
        weights = {}
        for j in others:
            both, either = sets[text] & sets[texts[j]], sets[text] | sets[texts[j]]
            shared = len(both) / len(either) if both else 0.0
            weights[j] = 1.0 if texts[j] == text else shared
        loss = sum(
            w * math.log(math.exp(vector @ vectors[j] / 0.05) / total) for j, w in weights.items()
        )
        alone = all(texts[j] == text for j, weight in weights.items() if weight)
        values.append(0.0 if alone else -loss / sum(weights.values()))
    return [(a + b) / 2 for a, b in zip(values[: len(sets)], values[len(sets) :], strict=True)]


def test_it_is_the_sum_over_pairs_weighted_by_shared_labels() -> None:
    one, other = draw_features()
    found = contrastive_loss(one, other, TARGETS)
    assert found.tolist() == pytest.approx(
        sum_over_pairs(one, other, [{0, 2}, {0}, {1}, set()]), rel=1e-5
    )


def test_an_unknown_label_is_not_shared() -> None:
    one, other = draw_features(seed=1)
    unknown = TARGETS.clone()
    unknown[1, 0] = -100
    assert contrastive_loss(one, other, unknown).tolist() == pytest.approx(
        sum_over_pairs(one, other, [{0, 2}, set(), {1}, set()]), rel=1e-5
    )


def test_gradients_are_finite_for_a_single_text_and_for_equal_features() -> None:
    for rows in (1, 4):
        features = torch.ones(rows, 5, requires_grad=True)
        contrastive_loss(features, features, TARGETS[:rows]).sum().backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()


def test_texts_with_common_labels_are_drawn_together() -> None:
    one, _ = draw_features(seed=2)
    features = one.clone().requires_grad_()
    optimizer = torch.optim.SGD([features], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        contrastive_loss(features, features, TARGETS).sum().backward()
        optimizer.step()
    before, after = (torch.nn.functional.normalize(each, dim=1) for each in (one, features))
    assert after[0] @ after[1] > before[0] @ before[1]
    assert after[0] @ after[1] > after[0] @ after[2]


def test_targets_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        contrastive_loss(*draw_features(), TARGETS * 2)


def test_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature: expected a value above 0"):
        contrastive_loss(*draw_features(), TARGETS, temperature=0.0)
