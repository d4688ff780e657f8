"""Wrong cells: how likely each tag of the data is wrong, from out-of-fold logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask

Floats = NDArray[np.float64]

MAX_LOGIT = 30.0
PRIOR_CELLS = 50.0
"""Weight of the rates of all labels beside those of one label, in cells."""
PRIOR_SLOPE = 50.0
"""Weight of the calibration of all labels beside that of one label, in cells."""
START_RATE, MIN_RATE, MAX_RATE = 0.05, 1e-6, 0.45
ROUNDS = 40


@dataclass(frozen=True)
class CellErrors:
    """How likely each cell is wrong, and the noise of each label.

    Args:
        probabilities: Probability ``(N, L)`` that the cell is wrong; NaN where it is unknown.
        missing: Cells ``(N, L)`` without the tag; the other known ones are tagged.
        missing_rates: Share ``(L,)`` of the texts with the label that lack its tag.
        superfluous_rates: Share ``(L,)`` of the texts without the label that have its tag.
    """

    probabilities: Floats
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
    one = _fit(z.reshape(-1, 1), tagged.reshape(-1, 1), known.reshape(-1, 1), None)
    fit = _fit(z, tagged, known, one)
    wrong = np.where(tagged, 1 - fit.posterior, fit.posterior)
    return CellErrors(np.where(known, wrong, np.nan), known & ~tagged, fit.missing, fit.superfluous)


@dataclass(frozen=True)
class _Fit:
    slope: Floats
    intercept: Floats
    missing: Floats
    superfluous: Floats
    wrong_tags: Floats
    posterior: Floats


def _fit(z: Floats, tagged: Any, known: Any, prior: _Fit | None) -> _Fit:
    """Fit the four numbers of each column; ``prior`` is the fit of all columns together."""
    columns = z.shape[1]
    tags, cells = tagged.sum(0), known.sum(0)
    share = (tags + 0.5) / (cells + 1)
    if prior is None:
        slope, intercept = np.ones(columns), np.zeros(columns)
        missing, wrong_tags = np.full(columns, START_RATE), np.full(columns, START_RATE)
    else:
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
        weight = 0.0 if prior is None else PRIOR_CELLS
        common = (START_RATE, START_RATE) if prior is None else (prior.missing, prior.wrong_tags)
        missing = (lost + weight * common[0]) / (posterior.sum(0) + weight + 1e-9)
        wrong_tags = (false + weight * common[1]) / (tags + weight + 1e-9)
        absent = (known * (1 - posterior)).sum(0)
        superfluous = np.clip(wrong_tags * (tags + 0.5) / (absent + 1), MIN_RATE, MAX_RATE)
        missing = np.clip(missing, MIN_RATE, MAX_RATE)
    return _Fit(slope, intercept, missing, superfluous, wrong_tags, posterior)


def _newton(
    z: Floats, soft: Floats, known: Any, slope: Floats, intercept: Floats, prior: _Fit | None
) -> tuple[Floats, Floats]:
    """Return one damped Newton step of the logistic regression of soft tags on the logit."""
    q = _sigmoid(slope * z + intercept)
    weight = known * q * (1 - q)
    error = known * (q - soft)
    ridge = 1e-6 if prior is None else PRIOR_SLOPE
    centre = (slope, intercept) if prior is None else (prior.slope, prior.intercept)
    gs = (error * z).sum(0) + ridge * (slope - centre[0])
    gi = error.sum(0) + 0.1 * ridge * (intercept - centre[1])
    hss = (weight * z * z).sum(0) + ridge
    hii = weight.sum(0) + 0.1 * ridge
    hsi = (weight * z).sum(0)
    determinant = np.maximum(hss * hii - hsi * hsi, 1e-9)
    step_s = (hii * gs - hsi * gi) / determinant
    step_i = (hss * gi - hsi * gs) / determinant
    return slope - np.clip(step_s, -1, 1), intercept - np.clip(step_i, -1, 1)


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -MAX_LOGIT, MAX_LOGIT)))
