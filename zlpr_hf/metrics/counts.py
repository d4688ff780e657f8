"""Counts of decisions, and the metrics that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def ratio(numerator: Any, denominator: Any) -> Floats:
    """Return quotients in float64; 0 / 0 is 0, as with scikit-learn's ``zero_division=0``."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    result: Floats = np.divide(
        numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0
    )
    return result


@dataclass(frozen=True)
class Counts:
    """Counts of decisions, one per row, per label or per resample and label.

    Args:
        true_positives: Number of decisions that are predicted and true.
        predicted: Number of predicted ones.
        support: Number of true ones.
    """

    true_positives: Any
    predicted: Any
    support: Any

    @classmethod
    def from_decisions(cls, decided: Any, present: Any, axis: int) -> Counts:
        """Count over an axis of ``(N, L)``: 0 for counts per label, 1 for counts per row."""
        return cls((decided & present).sum(axis), decided.sum(axis), present.sum(axis))

    def where(self, kept: Any) -> Counts:
        """Return the counts of some rows or labels, by a mask."""
        return Counts(self.true_positives[kept], self.predicted[kept], self.support[kept])

    def total(self) -> Counts:
        """Return the sums over the last axis, which keeps the length 1."""
        parts = (self.true_positives, self.predicted, self.support)
        return Counts(*(np.asarray(part).sum(-1, keepdims=True) for part in parts))

    @property
    def precision(self) -> Floats:
        """Fraction of the predicted ones that are true."""
        return ratio(self.true_positives, self.predicted)

    @property
    def recall(self) -> Floats:
        """Fraction of the true ones that are predicted."""
        return ratio(self.true_positives, self.support)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall."""
        return ratio(2 * self.true_positives, self.predicted + self.support)

    @property
    def jaccard(self) -> Floats:
        """Intersection over union; 0 for two empty sets, as in scikit-learn."""
        return ratio(self.true_positives, self.predicted + self.support - self.true_positives)

    @property
    def wrong(self) -> Any:
        """Number of wrong decisions."""
        return self.predicted + self.support - 2 * self.true_positives

    def averages(self, average: str, weights: Any = None) -> dict[str, Any]:
        """Return means over the last axis, such as ``f1_macro`` from counts per label.

        Entries of weight zero are left out of the mean; by default all count.
        """
        values = {"f1": self.f1, "precision": self.precision, "recall": self.recall}
        return {
            f"{name}_{average}": each.mean(-1)
            if weights is None
            else mean_or_nan((each * weights).sum(-1), np.sum(weights, -1))
            for name, each in values.items()
        }


def mean_or_nan(sums: Any, counts: Any) -> Floats:
    """Return means from sums and the numbers of their terms; NaN where there is no term."""
    sums, counts = np.broadcast_arrays(np.asarray(sums, float), np.asarray(counts, float))
    means: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def metrics_from_counts(rows: Counts, labels: Counts, known: int) -> dict[str, float]:
    """Return the decision metrics of a set of predictions.

    Args:
        rows: Counts per row with a known target.
        labels: Counts per label with a known target.
        known: Number of known targets.
    """
    metrics = rows.total().averages("micro") | labels.averages("macro") | rows.averages("samples")
    metrics |= {
        "jaccard_samples": rows.jaccard.mean(),
        "subset_accuracy": (rows.wrong == 0).mean(),
        "hamming_loss": ratio(rows.wrong.sum(), known),
        "predicted_cardinality": rows.predicted.mean(),
        "empty_predictions": (rows.predicted == 0).mean(),
    }
    return {name: float(value) for name, value in metrics.items()}


def count_confusions(
    missed: NDArray[np.bool_], invented: NDArray[np.bool_], label: int
) -> NDArray[np.intp]:
    """Return the rows in which each other label has the opposite mistake of a label, ``(L,)``.

    Args:
        missed: True cells that are not predicted, ``(N, L)``.
        invented: Predicted cells that are false, ``(N, L)``.
        label: Column of the label.
    """
    counts: NDArray[np.intp] = invented[missed[:, label]].sum(0) + missed[invented[:, label]].sum(0)
    return counts
