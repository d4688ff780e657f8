"""Query strategies: which unlabelled texts to label next, for multi-label models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from zlpr_hf.thresholds import decide

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Unlabelled texts as a model sees them.

    Args:
        logits: Logits, ``(N, L)``.
        features: Inputs of the head, ``(N, D)``.
        cardinality: Mean number of labels of the labelled texts; None for the mean expected by the
            scores.
    """

    logits: Array
    features: Array
    cardinality: float | None = None


def score_margin(pool: Pool) -> Array:
    """Return the smallest distance of a logit from zero, negated: one uncertain label is enough.

    References:
        Brinker: On Active Learning in Multi-label Classification, 2006.
    """
    scores: Array = -np.abs(pool.logits).min(1)
    return scores


def score_mean_margin(pool: Pool) -> Array:
    """Return the mean distance of the logits from zero, negated.

    References:
        Esuli, Sebastiani: Active Learning Strategies for Multi-Label Text Classification, 2009.
    """
    scores: Array = -np.abs(pool.logits).mean(1)
    return scores


def score_cardinality(pool: Pool) -> Array:
    """Return how far the number of labels above zero is from the mean number of labels.

    Labels that ``min_labels`` adds do not count: a text without any logit above zero is one that
    the model cannot place.

    References:
        Li, Guo: Active Learning with Multi-Label SVM Classification, 2013.
    """
    expected = pool.cardinality
    if expected is None:
        expected = float(expit(pool.logits).sum(1).mean())
    scores: Array = np.abs(decide(pool.logits).sum(1) - expected)
    return scores


def score_margin_cardinality(pool: Pool) -> Array:
    """Return the label cardinality inconsistency, over the margin between present and absent.

    The margin is between the lowest logit above zero and the highest below; a text without a
    predicted label has only the second part. Both parts have the weight 1/2.

    References:
        Li, Guo: Active Learning with Multi-Label SVM Classification, 2013.
    """
    present = np.where(pool.logits > 0, pool.logits, np.inf).min(1)
    absent = np.where(pool.logits > 0, -np.inf, pool.logits).max(1)
    gap = np.where(np.isfinite(present), present, 0) - np.where(np.isfinite(absent), absent, 0)
    scores: Array = np.sqrt(score_cardinality(pool) / np.maximum(gap, 1e-6))
    return scores


def score_rare_labels(pool: Pool) -> Array:
    """Return the expected share of each label's texts in the pool, summed over the labels.

    The first texts are likely to have labels of which the pool has few: relevance sampling, with
    the weight of a label inverse to its expected frequency.

    References:
        Lewis, Gale: A Sequential Algorithm for Training Text Classifiers, 1994.
    """
    scores = expit(pool.logits)
    summed: Array = (scores / np.maximum(scores.sum(0), 1e-12)).sum(1)
    return summed


def zlpr_gradients(logits: Array) -> Array:
    r"""Return the gradient of ZLPR at each logit, ``(N, L)``, if the decisions were the labels.

    For a predicted label it is :math:`-e^{-s} / (1 + \sum_\text{present} e^{-s})`, for another one
    :math:`e^{s} / (1 + \sum_\text{absent} e^{s})`.
    """
    present = logits > 0
    gradients = np.zeros_like(logits)
    for side, sign in ((present, -1.0), (~present, 1.0)):
        exponents = np.where(side, sign * logits, -np.inf)
        total = logsumexp(np.pad(exponents, ((0, 0), (0, 1))), axis=1, keepdims=True)
        gradients += sign * np.exp(exponents - total)
    return gradients


SCORES: dict[str, Callable[[Pool], Array]] = {
    "margin": score_margin,
    "mean_margin": score_mean_margin,
    "cardinality": score_cardinality,
    "margin_cardinality": score_margin_cardinality,
    "rare_labels": score_rare_labels,
}
"""Strategies that rank texts by a number."""


def choose_texts(
    pool: Pool,
    strategy: str,
    count: int,
    *,
    seed: int = 0,
    near_duplicates: Iterable[tuple[int, int]] = (),
) -> NDArray[np.intp]:
    """Return the rows of a batch to label next, best first, without near-duplicates.

    Args:
        pool: The unlabelled texts.
        strategy: A name in :data:`zlpr_hf.choices.QueryStrategy`. ``gradient`` draws texts far
            apart by k-means++ on the gradients of the head's weights, ``rare_gradient`` with labels
            weighted as in ``rare_labels``; ``diversity`` takes the text farthest from those chosen
            so far, on the features; ``random`` draws.
        count: Number of texts; fewer if all others are near-duplicates.
        seed: Random seed.
        near_duplicates: Pairs of rows of which a batch takes one. The features do not tell: a model
            that is trained well has nearly the same ones for different texts with equal labels.

    References:
        Ash et al.: Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, 2020.
        Sener, Savarese: Active Learning for Convolutional Neural Networks: A Core-Set Approach,
        2018.
    """
    generator = np.random.default_rng(seed)
    picker = _make_picker(pool, strategy, generator)
    twins: defaultdict[int, list[int]] = defaultdict(list)
    for first, second in near_duplicates:
        twins[first].append(second)
        twins[second].append(first)
    free = np.ones(len(pool.logits), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        row = picker.pick(free)
        chosen.append(row)
        free[[row, *twins[row]]] = False
    return np.asarray(chosen, dtype=np.intp)


def _make_picker(
    pool: Pool, strategy: str, generator: np.random.Generator
) -> _ByScore | _ByDistance:
    count = len(pool.features)
    if strategy == "random":
        return _ByScore(generator.permutation(count).astype(float))
    if strategy in SCORES:
        return _ByScore(SCORES[strategy](pool))
    factors = np.ones((count, 1))
    if strategy != "diversity":
        factors = zlpr_gradients(pool.logits)
    if strategy == "rare_gradient":
        frequency = expit(pool.logits).mean(0)
        factors = factors / np.sqrt(np.maximum(frequency, 1 / count))
    return _ByDistance(factors, pool.features, None if strategy == "diversity" else generator)


class _ByScore:
    """Picks the free row with the largest score."""

    def __init__(self, scores: Array) -> None:
        self._scores = scores

    def pick(self, free: NDArray[np.bool_]) -> int:
        return int(np.where(free, self._scores, -np.inf).argmax())


class _ByDistance:
    """Picks free rows far from those before, on outer products of factors and features.

    The first row has the largest norm. With a generator the next ones are drawn by their squared
    distance from the nearest picked row (k-means++); without, the farthest is taken.
    """

    def __init__(
        self, factors: Array, features: Array, generator: np.random.Generator | None
    ) -> None:
        self._factors, self._features, self._generator = factors, features, generator
        self._norms = (factors**2).sum(1) * (features**2).sum(1)
        self._distances: Array | None = None

    def pick(self, free: NDArray[np.bool_]) -> int:
        distances = self._norms if self._distances is None else self._distances
        weights = np.where(free, distances, 0.0)
        total = weights.sum()
        if self._generator is None or self._distances is None or not total > 0:
            row = int(np.where(free, distances, -1.0).argmax())
        else:
            row = int(self._generator.choice(len(weights), p=weights / total))
        products = (self._factors @ self._factors[row]) * (self._features @ self._features[row])
        found = np.maximum(self._norms + self._norms[row] - 2 * products, 0)
        self._distances = found if self._distances is None else np.minimum(distances, found)
        return row
