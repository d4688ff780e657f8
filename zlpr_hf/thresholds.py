"""The postprocessor: a label is predicted when its logit exceeds zero, or its offset."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Scope
from zlpr_hf.metrics.multi_label import compute_decision_metrics

Floats = NDArray[np.floating[Any]]
CANDIDATES = 200


@dataclass(frozen=True)
class Thresholds:
    """Turns logits into label sets: ``logit > offset``, then at least and at most so many labels.

    Args:
        offsets: One number a label, or empty for zero everywhere.
        min_labels: If fewer labels pass, the highest-scoring ones are added.
        max_labels: If more pass, only the highest-scoring ones stay; None for no limit.

    Raises:
        ValueError: If the limits contradict each other.

    Example:
        >>> Thresholds().apply(np.array([[2.0, -1.0], [-1.0, -2.0]])).tolist()
        [[True, False], [False, False]]
        >>> Thresholds(min_labels=1).apply(np.array([[-1.0, -2.0]])).tolist()
        [[True, False]]
    """

    offsets: tuple[float, ...] = ()
    min_labels: int = 0
    max_labels: int | None = None

    def __post_init__(self) -> None:
        if self.min_labels < 0 or (
            self.max_labels is not None and self.max_labels < max(1, self.min_labels)
        ):
            raise ValueError(
                "expected 0 <= min_labels <= max_labels and max_labels >= 1, "
                f"got {self.min_labels} and {self.max_labels}"
            )

    def apply(self, logits: Any) -> NDArray[np.bool_]:
        """Decide which labels are predicted.

        Args:
            logits: Raw scores.

        Shape:
            logits: ``(N, L)``. Result: ``(N, L)``.

        Returns:
            True where a label is predicted.
        """
        margins = np.asarray(logits, dtype=np.float64)
        if self.offsets:
            margins = margins - np.asarray(self.offsets)
        predictions = margins > 0
        if self.min_labels == 0 and self.max_labels is None:
            return predictions
        rank = np.argsort(np.argsort(-margins, axis=1, kind="stable"), axis=1)
        predictions |= rank < self.min_labels
        if self.max_labels is not None:
            predictions &= rank < self.max_labels
        return predictions

    def to_config(self) -> dict[str, Any]:
        """A plain mapping for the ``zlpr`` entry of ``config.json``."""
        return asdict(self) | {"offsets": list(self.offsets)}

    @classmethod
    def from_config(cls, config: Any) -> Thresholds:
        """Read the thresholds that a checkpoint carries.

        Args:
            config: A ``PretrainedConfig``.

        Returns:
            Its thresholds; zero on logits if it has none.
        """
        stored = (getattr(config, "zlpr", None) or {}).get("thresholds")
        if not stored:
            return cls()
        return cls(**(stored | {"offsets": tuple(stored["offsets"])}))

    @torch.no_grad()
    def fold_into(self, head: nn.Linear, config: Any) -> Thresholds:
        """Subtract the offsets from the bias of a head, so that zero is the boundary again.

        Afterwards every consumer, a stock pipeline too, decides as these thresholds did. Limits on
        the number of labels cannot be folded and stay in the configuration.

        Args:
            head: The linear layer with a row a label; changed in place.
            config: The model's configuration; what stays is stored in it.

        Returns:
            What stays: no offsets, the same limits.
        """
        if self.offsets:
            head.bias.sub_(
                torch.tensor(self.offsets, dtype=head.bias.dtype, device=head.bias.device)
            )
        rest = Thresholds((), self.min_labels, self.max_labels)
        config.zlpr = (getattr(config, "zlpr", None) or {}) | {"thresholds": rest.to_config()}
        return rest


def fit_thresholds(
    logits: Any,
    targets: Any,
    *,
    metric: str = "f1_macro",
    scope: Scope = "global",
    min_positives: int = 5,
) -> Thresholds:
    """Tune offsets on validation logits. Never use the rows that the result is reported on.

    ``global`` is one offset for all labels, exact for micro-F1, the best of some hundred otherwise.
    ``per_label`` is exact: macro-F1 is the mean of the
    labels' own F1 and is maximised label by label; micro-F1 is a ratio of sums over labels, which
    Dinkelbach's iteration maximises, each step again label by label. Ties go to the offset
    nearest zero.

    Args:
        logits: Raw scores of validation rows.
        targets: Their targets in [0, 1]; NaN or -100 where not known.
        metric: One of ``f1_micro``, ``f1_macro``, and for ``global`` also ``f1_samples``,
            ``jaccard_samples``, ``subset_accuracy``.
        scope: ``global`` or ``per_label``.
        min_positives: For ``per_label``: a label with fewer positives keeps its zero, since
            there are too few to tune on.

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        Thresholds with one offset a label.

    Raises:
        ValueError: If the metric or scope is unknown, or the metric cannot be tuned per label.

    References:
        Dinkelbach: On Nonlinear Fractional Programming, 1967.
        Lipton, Elkan, Naryanaswamy: Optimal Thresholding of Classifiers to Maximize F1, 2014.

    Example:
        >>> validation = [[0.5], [1.5], [2.0]], [[0], [1], [1]]
        >>> fit_thresholds(*validation, scope="per_label", min_positives=1).offsets
        (1.0,)
    """
    if scope not in ("global", "per_label"):
        raise ValueError(f"scope must be global or per_label, got {scope!r}")
    allowed = DECISION_METRICS if scope == "global" else LABEL_METRICS
    if metric not in allowed:
        raise ValueError(
            f"metric for scope {scope} must be one of {', '.join(allowed)}, got {metric!r}"
        )
    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(targets, dtype=np.float32)
    if scope == "global":
        if metric == "f1_micro":  # a label of its own, of all cells: exact
            curve = _Curve.of(scores.ravel(), truth.ravel())
            best = curve.best(curve.f1())
        else:
            best = _best_offset(scores, truth, metric)
        return Thresholds((best,) * scores.shape[1])
    curves = [_Curve.of(scores[:, label], truth[:, label]) for label in range(scores.shape[1])]
    tuned = [curve if curve.positives >= min_positives else curve.at_zero() for curve in curves]
    if metric == "f1_macro":
        return Thresholds(tuple(curve.best(curve.f1()) for curve in tuned))
    ratio = 0.0
    while True:
        chosen = [curve.best_index(2 * curve.hits - ratio * curve.said) for curve in tuned]
        hits = sum(curve.hits[index] for curve, index in zip(tuned, chosen, strict=True))
        said = sum(curve.said[index] for curve, index in zip(tuned, chosen, strict=True))
        better = 2 * hits / max(said + sum(curve.positives for curve in tuned), 1)
        if better <= ratio + 1e-12:
            return Thresholds(
                tuple(
                    float(curve.offsets[index]) for curve, index in zip(tuned, chosen, strict=True)
                )
            )
        ratio = float(better)


def _best_offset(scores: Floats, truth: Floats, metric: str) -> float:
    finite = scores[np.isfinite(scores)]
    candidates = (
        np.unique(np.quantile(finite, np.linspace(0, 1, CANDIDATES)))
        if finite.size
        else np.zeros(1)
    )
    # Between the quantiles, where decisions are dense, and around zero, where logits are not.
    candidates = np.concatenate(
        [[0.0], (candidates[1:] + candidates[:-1]) / 2, np.linspace(-3, 3, 61)]
    )
    candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
    values = [compute_decision_metrics(scores > offset, truth)[metric] for offset in candidates]
    return float(candidates[int(np.argmax(values))])


@dataclass(frozen=True)
class _Curve:
    """For one label: the possible offsets, and how many hits and predictions each gives."""

    offsets: Floats
    hits: Floats
    said: Floats
    positives: int

    @classmethod
    def of(cls, scores: Floats, truth: Floats) -> _Curve:
        known = ~(np.isnan(truth) | (truth == -100))
        scores, present = scores[known], truth[known] >= 0.5
        values = np.unique(scores)
        edges = (values[1:] + values[:-1]) / 2
        low, high = (values[0] - 1, values[-1] + 1) if len(values) else (0.0, 0.0)
        offsets = np.concatenate([[low], edges, [high, 0.0]])
        offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
        ordered, positive = np.sort(scores), np.sort(scores[present])
        said = len(ordered) - np.searchsorted(ordered, offsets, side="right")
        hits = len(positive) - np.searchsorted(positive, offsets, side="right")
        return cls(offsets, hits.astype(float), said.astype(float), int(present.sum()))

    def at_zero(self) -> _Curve:
        index = int(np.flatnonzero(self.offsets == 0)[0])
        only = slice(index, index + 1)
        return _Curve(self.offsets[only], self.hits[only], self.said[only], self.positives)

    def f1(self) -> Floats:
        return 2 * self.hits / np.maximum(self.said + self.positives, 1)

    def best_index(self, values: Floats) -> int:
        """First best value; offsets are sorted by distance from zero, so ties stay near it."""
        return int(np.argmax(values >= values.max() - 1e-12))

    def best(self, values: Floats) -> float:
        return float(self.offsets[self.best_index(values)])
