"""95 % intervals from the resamples of a bootstrap, with honest coverage for few rows."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import stdtrit

from zlpr_hf.metrics.counts import Floats

MIN_ROWS = 10
"""Rows per label of a macro mean, and rows that tell two predictors apart, for an interval."""
QUANTILE = 0.975


@dataclass(frozen=True)
class Interval:
    """95 % interval of a metric."""

    low: float
    high: float


def score_interval(value: float, resamples: Floats, rows: float) -> Interval:
    """Return Wilson's interval of a metric in [0, 1], with the variance of its resamples.

    The centre is the value without the bias of the resamples, whose macro averages are too low
    where labels are rare. The number of rows in Wilson's formula is that of a share with the same
    variance; at 0 and 1, where the resamples have none, it is ``rows``. The quantile is Student's.

    Args:
        value: The metric of all rows.
        resamples: The metric of each resample.
        rows: Number of rows that the metric depends on, at least two.

    References:
        Wilson: Probable Inference, the Law of Succession, and Statistical Inference, 1927.
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 10.
    """
    quantile = float(stdtrit(rows - 1, QUANTILE))
    centre = min(max(2 * value - float(resamples.mean()), 0.0), 1.0)
    if 0 < value < 1:
        shrinkage = quantile**2 * _variance(resamples, rows) / (value * (1 - value))
    else:
        shrinkage = quantile**2 / rows
    middle = (centre + shrinkage / 2) / (1 + shrinkage)
    width = (shrinkage * (centre * (1 - centre) + shrinkage / 4)) ** 0.5 / (1 + shrinkage)
    return Interval(max(middle - width, 0.0), min(middle + width, 1.0))


def difference_interval(difference: float, resamples: Floats, rows: int) -> Interval:
    """Return the interval of a paired difference in [-1, 1], without the bias of its resamples.

    ``rows`` is the number of rows that tell the two predictors apart.
    """
    width = float(stdtrit(rows - 1, QUANTILE)) * _variance(resamples, rows) ** 0.5
    centre = 2 * difference - float(resamples.mean())
    return Interval(max(centre - width, -1.0), min(centre + width, 1.0))


def _variance(resamples: Floats, rows: float) -> float:
    return float(resamples.var()) * rows / (rows - 1)
