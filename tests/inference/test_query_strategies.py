"""Query strategies beside loops over rows, and batches without near-duplicates."""

from typing import get_args

import numpy as np
import pytest
import torch

from zlpr_hf import zlpr_loss
from zlpr_hf.choices import QueryStrategy
from zlpr_hf.inference.query_strategies import (
    SCORES,
    Pool,
    choose_texts,
    score_cardinality,
    score_margin,
    score_margin_cardinality,
    score_mean_margin,
    score_rare_labels,
    zlpr_gradients,
)

GENERATOR = np.random.default_rng(0)
POOL = Pool(GENERATOR.normal(-0.5, 2, (40, 5)), GENERATOR.normal(size=(40, 8)), 1.5)


def test_scores_are_those_of_a_loop() -> None:
    everything = 1 / (1 + np.exp(-POOL.logits))
    for row, logits in enumerate(POOL.logits):
        present, absent = logits[logits > 0], logits[logits <= 0]
        assert score_margin(POOL)[row] == -min(abs(value) for value in logits)
        assert score_mean_margin(POOL)[row] == pytest.approx(-sum(map(abs, logits)) / 5)
        away = abs(len(present) - 1.5)
        assert score_cardinality(POOL)[row] == away
        gap = min(present, default=0.0) - max(absent, default=0.0)
        assert score_margin_cardinality(POOL)[row] == pytest.approx((away / gap) ** 0.5)
        share = sum(everything[row, label] / everything[:, label].sum() for label in range(5))
        assert score_rare_labels(POOL)[row] == pytest.approx(share)


def test_cardinality_without_training_rows_is_that_of_the_scores() -> None:
    pool = Pool(POOL.logits, POOL.features)
    expected = (1 / (1 + np.exp(-POOL.logits))).sum(1).mean()
    counts = (POOL.logits > 0).sum(1)
    np.testing.assert_allclose(score_cardinality(pool), abs(counts - expected))


def test_gradients_are_those_of_autograd() -> None:
    logits = torch.tensor(POOL.logits, requires_grad=True)
    zlpr_loss(logits, (logits > 0).double(), reduction="sum").backward()
    assert logits.grad is not None
    np.testing.assert_allclose(zlpr_gradients(POOL.logits), logits.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("strategy", SCORES)
def test_batches_are_ranked_by_the_score(strategy: str) -> None:
    chosen = choose_texts(POOL, strategy, 6)
    assert chosen.tolist() == np.argsort(-SCORES[strategy](POOL), kind="stable")[:6].tolist()


def test_diversity_takes_the_farthest_text() -> None:
    chosen = choose_texts(POOL, "diversity", 5).tolist()
    features = POOL.features
    expected = [int((features**2).sum(1).argmax())]
    while len(expected) < 5:
        away = [min(((x - features[j]) ** 2).sum() for j in expected) for x in features]
        expected.append(int(np.argmax(away)))
    assert chosen == expected


def test_first_gradient_is_the_longest_of_the_outer_products() -> None:
    outer = np.einsum("nl,nd->nld", zlpr_gradients(POOL.logits), POOL.features).reshape(40, -1)
    assert choose_texts(POOL, "gradient", 1)[0] == (outer**2).sum(1).argmax()


@pytest.mark.parametrize("strategy", get_args(QueryStrategy))
def test_batches_have_no_near_duplicates(strategy: str) -> None:
    pairs = [(4 * text + i, 4 * text + j) for text in range(10) for i in range(4) for j in range(i)]
    chosen = choose_texts(POOL, strategy, 40, seed=3, near_duplicates=pairs)
    assert sorted(row // 4 for row in chosen) == list(range(10))
    again = choose_texts(POOL, strategy, 40, seed=3, near_duplicates=pairs)
    assert again.tolist() == chosen.tolist()


@pytest.mark.parametrize("strategy", get_args(QueryStrategy))
def test_texts_with_equal_features_are_no_near_duplicates(strategy: str) -> None:
    pool = Pool(POOL.logits, np.repeat(POOL.features[:1], 40, axis=0))
    assert len(set(choose_texts(pool, strategy, 30).tolist())) == 30
