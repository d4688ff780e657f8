"""Wrong cells: how likely each tag of the data is wrong, from out-of-fold logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask

Floats = NDArray[np.float64]

MAX_LOGIT = 30.0
PRIOR_CELLS = 60.0
"""Weight of the rates of all labels beside those of one label, in tags."""
PRIOR_SLOPE, PRIOR_INTERCEPT = 500.0, 200.0
"""Precision of the calibration of a label around that of all labels."""
MODEL_WEIGHT = 0.5
"""Weight of the logit itself beside the log-odds of the noise model, in the order of the cells."""
START_RATE = 0.05
"""Prior of the rates of all labels; their prior calibration is that of the scores as they are."""
MIN_RATE, MAX_RATE = 1e-6, 0.45
ROUNDS = 40


@dataclass(frozen=True)
class CellErrors:
    """How likely each cell is wrong, and the noise of each label.

    Args:
        probabilities: Probability ``(N, L)`` that the cell is wrong; NaN where it is unknown.
        scores: Number from 0 to 1 ``(N, L)`` that orders the cells, the most suspect ones highest:
            log-odds of the probability and of the model against the tag, averaged.
        missing: Cells ``(N, L)`` without the tag; the other known ones are tagged.
        missing_rates: Share ``(L,)`` of the texts with the label that lack its tag.
        superfluous_rates: Share ``(L,)`` of the texts without the label that have its tag.
    """

    probabilities: Floats
    scores: Floats
    missing: NDArray[np.bool_]
    missing_rates: Floats
    superfluous_rates: Floats


def find_cell_errors(logits: Any, targets: Any) -> CellErrors:
    """Estimate how likely each cell is wrong.

    Per label, the true tag is a logistic function of the logit, and the given tag differs from it
    at one rate for missing and one for superfluous tags. The four numbers of each label are fitted
    by expectation maximisation, and drawn toward those of all labels together.

    Args:
        logits: Out-of-fold logits ``(N, L)``.
        targets: Targets ``(N, L)``; present is 0.5 or above, unknown is NaN or -100.

    References:
        Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021.
        Thyagarajan et al.: Identifying Incorrect Annotations in Multi-Label Classification Data,
        2022.
    """
    truth = np.asarray(targets, dtype=np.float64)
    known = known_mask(truth)
    tagged = known & (truth >= 0.5)
    z = np.clip(np.nan_to_num(np.asarray(logits, dtype=np.float64)), -MAX_LOGIT, MAX_LOGIT)
    # A label that most texts have is fitted by its absence: rates are shares of the rarer value.
    common = tagged.sum(0) > 0.5 * known.sum(0)
    rare, z = np.where(common, known & ~tagged, tagged), np.where(common, -z, z)
    start = np.full(1, START_RATE)
    calibrated = _Fit(np.ones(1), np.zeros(1), start, start, start, np.zeros((0, 1)))
    together = _fit(z.reshape(-1, 1), rare.reshape(-1, 1), known.reshape(-1, 1), calibrated)
    fit = _fit(z, rare, known, together)
    wrong = np.where(rare, 1 - fit.posterior, fit.posterior)
    inside = np.clip(wrong, 1e-12, 1 - 1e-12)
    odds = np.log(inside / (1 - inside)) + MODEL_WEIGHT * np.where(rare, -z, z)
    return CellErrors(
        np.where(known, wrong, np.nan),
        np.where(known, _sigmoid(odds / (1 + MODEL_WEIGHT)), np.nan),
        known & ~tagged,
        np.where(common, fit.superfluous, fit.missing),
        np.where(common, fit.missing, fit.superfluous),
    )


@dataclass(frozen=True)
class _Fit:
    slope: Floats
    intercept: Floats
    missing: Floats
    superfluous: Floats
    wrong_tags: Floats
    posterior: Floats


def _fit(z: Floats, tagged: Any, known: Any, prior: _Fit) -> _Fit:
    """Fit the four numbers of each column, drawn toward a prior."""
    columns = z.shape[1]
    tags, cells = tagged.sum(0), known.sum(0)
    share = (tags + 0.5) / (cells + 1)
    slope, intercept, missing, wrong_tags = (
        np.repeat(each, columns)
        for each in (prior.slope, prior.intercept, prior.missing, prior.wrong_tags)
    )
    superfluous = np.clip(wrong_tags * share / (1 - share), MIN_RATE, MAX_RATE)
    posterior = np.zeros_like(z)
    for _ in range(ROUNDS):
        q = _sigmoid(slope * z + intercept)
        yes = np.where(tagged, 1 - missing, missing) * q
        no = np.where(tagged, superfluous, 1 - superfluous) * (1 - q)
        posterior = np.where(known, yes / (yes + no), 0.0)
        slope, intercept = _newton(z, posterior, known, slope, intercept, prior)
        lost = (posterior * (known & ~tagged)).sum(0)
        false = ((1 - posterior) * tagged).sum(0)
        missing = (lost + PRIOR_CELLS * prior.missing) / (posterior.sum(0) + PRIOR_CELLS)
        wrong_tags = (false + PRIOR_CELLS * prior.wrong_tags) / (tags + PRIOR_CELLS)
        absent = (known * (1 - posterior)).sum(0)
        superfluous = np.clip(wrong_tags * (tags + 0.5) / (absent + 1), MIN_RATE, MAX_RATE)
        missing = np.clip(missing, MIN_RATE, MAX_RATE)
    return _Fit(slope, intercept, missing, superfluous, wrong_tags, posterior)


def _newton(
    z: Floats, soft: Floats, known: Any, slope: Floats, intercept: Floats, prior: _Fit
) -> tuple[Floats, Floats]:
    """Return one damped Newton step of the logistic regression of soft tags on the logit."""
    q = _sigmoid(slope * z + intercept)
    weight = known * q * (1 - q)
    error = known * (q - soft)
    gs = (error * z).sum(0) + PRIOR_SLOPE * (slope - prior.slope)
    gi = error.sum(0) + PRIOR_INTERCEPT * (intercept - prior.intercept)
    hss = (weight * z * z).sum(0) + PRIOR_SLOPE
    hii = weight.sum(0) + PRIOR_INTERCEPT
    hsi = (weight * z).sum(0)
    determinant = np.maximum(hss * hii - hsi * hsi, 1e-9)
    step_s = (hii * gs - hsi * gi) / determinant
    step_i = (hss * gi - hsi * gs) / determinant
    return slope - np.clip(step_s, -1, 1), intercept - np.clip(step_i, -1, 1)


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -MAX_LOGIT, MAX_LOGIT)))
