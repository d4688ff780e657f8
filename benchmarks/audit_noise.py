"""Planted noise, heads on frozen embeddings, and the scores that benchmarks.audit compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from zlpr_hf import zlpr_loss
from zlpr_hf.metrics.cell_errors import find_cell_errors
from zlpr_hf.thresholds import compute_scores

STEPS, RATE, SCALE = 300, 0.1, 8.0
NEIGHBOURS = 20


def plant(targets: Any, share: float, kind: str, seed: int) -> Any:
    """Return targets with noise: a share of the tags of each label removed.

    With ``flipped`` as many other cells of the label get the tag, so that its count stays; the
    share is then of the rarer value of the label.
    """
    generator = np.random.default_rng(seed)
    noisy = targets.copy()
    for label in range(targets.shape[1]):
        tagged, others = (np.flatnonzero(targets[:, label] == value) for value in (1, 0))
        base = len(tagged) if kind == "missing" else min(len(tagged), len(others))
        count = round(share * base)
        noisy[generator.choice(tagged, count, replace=False), label] = 0
        if kind == "flipped":
            noisy[generator.choice(others, count, replace=False), label] = 1
    return noisy


def train_head(features: Any, targets: Any, decay: float) -> Any:
    """Train a linear ZLPR head on frozen features in full batches; return weight and bias."""
    x, y = torch.tensor(features) * SCALE, torch.tensor(targets)
    weight = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    bias = torch.full((y.shape[1],), -2.0, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = zlpr_loss(x @ weight + bias, y) + decay * weight.square().sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


def predict(head: Any, features: Any) -> Any:
    """Return logits of frozen features."""
    weight, bias = head
    return (torch.tensor(features) * SCALE @ weight + bias).numpy()


def cross_fit(features: Any, targets: Any, decay: float, *, folds: int = 5, seed: int = 0) -> Any:
    """Return out-of-fold logits."""
    fold = np.random.default_rng(seed).permutation(len(features)) % folds
    logits = np.empty_like(targets)
    for each in range(folds):
        head = train_head(features[fold != each], targets[fold != each], decay)
        logits[fold == each] = predict(head, features[fold == each])
    return logits


def score_cells(logits: Any, given: Any, features: Any) -> dict[str, Any]:
    """Return the scores of all cells by each function; the highest are the most suspect."""
    tagged = given == 1
    chance = compute_scores(logits).astype(np.float64)
    usual_yes = (chance * tagged).sum(0) / np.maximum(tagged.sum(0), 1)
    usual_no = ((1 - chance) * ~tagged).sum(0) / np.maximum((~tagged).sum(0), 1)
    against = (1 - chance - usual_no) - (chance - usual_yes)
    up, down = (np.exp(np.clip(sign * logits.astype(np.float64), -30, 30)) for sign in (1, -1))
    ranks = np.argsort(np.argsort(logits, axis=0), axis=0) / len(logits)
    errors = find_cell_errors(logits, given)
    platt = _calibrate(logits, tagged, _fit_platt)
    return {
        "self-confidence": np.where(tagged, 1 - chance, chance),
        "margin to thresholds per label": np.where(tagged, against, -against),
        "gradient of ZLPR": np.where(
            tagged,
            down / (1 + (down * tagged).sum(1, keepdims=True)),
            up / (1 + (up * ~tagged).sum(1, keepdims=True)),
        ),
        "rank within label": np.where(tagged, 1 - ranks, ranks),
        "Platt per label": np.where(tagged, 1 - platt, platt),
        "isotonic per label": _as_error(_calibrate(logits, tagged, _fit_isotonic), tagged),
        "20 nearest neighbours": _as_error(_neighbour_share(features, tagged), tagged),
        "noise model alone": errors.probabilities,
        "noise model with the logit (default)": errors.scores,
    }


def _as_error(chance: Any, tagged: Any) -> Any:
    return np.where(tagged, 1 - chance, chance)


def _calibrate(logits: Any, tagged: Any, fit: Any) -> Any:
    return np.column_stack(
        [fit(column, given) for column, given in zip(logits.T, tagged.T, strict=True)]
    )


def _fit_platt(column: Any, given: Any) -> Any:
    if given.all() or not given.any():
        return np.full(len(given), given.mean())
    fitted = LogisticRegression().fit(column[:, None], given)
    return fitted.predict_proba(column[:, None])[:, 1]


def _fit_isotonic(column: Any, given: Any) -> Any:
    return IsotonicRegression(out_of_bounds="clip").fit_transform(column, given.astype(float))


def _neighbour_share(features: Any, tagged: Any) -> Any:
    """Return the share of the nearest other rows with the tag."""
    share = np.empty(tagged.shape)
    for start in range(0, len(features), 1000):
        rows = np.arange(start, min(start + 1000, len(features)))
        near = features[rows] @ features.T
        near[np.arange(len(rows)), rows] = -np.inf
        best = np.argpartition(-near, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        share[rows] = tagged[best].mean(1)
    return share
