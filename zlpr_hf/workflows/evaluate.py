"""Evaluation: what a model does on labelled texts, with intervals."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import LongTexts, Scope
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.metrics.bootstrap import Interval, compute_intervals
from zlpr_hf.metrics.multi_label import (
    LabelScore,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.metrics.top_k import (
    MAX_DENSE_LABELS,
    compute_top_k_label_scores,
    compute_top_k_metrics,
)
from zlpr_hf.reports.provenance import find_versions
from zlpr_hf.reports.report import render_label_scores
from zlpr_hf.reports.sanity_checks import check_split
from zlpr_hf.thresholds import Thresholds

TOP_K = 100
"""Best labels of a text that are looked at in a large label space."""


@dataclass(frozen=True)
class Evaluation:
    """All numbers of a model on labelled texts.

    Args:
        model: The model as it was named.
        data: The texts.
        rows: How many.
        long_rows: How many of them are longer than the model was trained on.
        long_texts: How those were read.
        metrics: As of :func:`zlpr_hf.compute_multi_label_metrics`.
        intervals: 95 % bootstrap intervals of those that have one; none in a large label space.
        label_scores: Label by label.
        tuned: With tuned offsets, each half of the rows judged by offsets fitted on the other.
        thresholds: Offsets fitted on all rows, where tuning was asked for.
        versions: Python and the packages that decide the numbers.
        warnings: What is suspect about the numbers, with the remedy.
    """

    model: str
    data: str
    rows: int
    long_rows: int
    long_texts: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    label_scores: list[LabelScore]
    tuned: dict[str, float] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    versions: dict[str, str] = field(default_factory=find_versions)
    warnings: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything as JSON, whole or not at all.

        Args:
            path: The file.
        """
        write_whole(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def render(self) -> str:
        """Tables for the terminal."""
        title = f"{self.data}: {self.rows:,} texts"
        tuned = f"{'tuned':>12}" if self.tuned else ""
        lines = [title, "", f"{'metric':<26}{'value':>10}{'95 % interval':>20}{tuned}"]
        for name, value in self.metrics.items():
            interval = self.intervals.get(name)
            between = "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
            other = f"{self.tuned[name]:>12.4f}" if name in self.tuned else ""
            lines.append(f"{name:<26}{value:>10.4f}{between:>20}{other}")
        lines += ["", render_label_scores(self.label_scores)]
        if self.tuned:
            lines.append(
                "tuned: each half of the rows decided by offsets that were fitted on the other half"
            )
        if self.long_rows:
            lines.append(
                f"{self.long_rows:,} texts are longer than the model was trained on: read with "
                f"--long_texts {self.long_texts}"
            )
        lines += [f"warning: {each}" for each in self.warnings]
        return "\n".join(lines)


def evaluate(
    classifier: Classifier,
    rows: EvaluationSet,
    *,
    model: str,
    long_texts: LongTexts = "max",
    batch_size: int = 32,
    resamples: int = 1000,
    tune: Scope | None = None,
    metric: str = "f1_macro",
) -> Evaluation:
    """Judge a model on labelled texts.

    Args:
        classifier: The model.
        rows: The texts and their targets.
        model: What to call it.
        long_texts: As in :meth:`zlpr_hf.Classifier.compute_logits`.
        batch_size: Likewise.
        resamples: Draws of the bootstrap.
        tune: Whether to fit offsets too, one or one a label.
        metric: What they maximise.

    Returns:
        All numbers.
    """
    evaluate_rows = (
        _evaluate_top_k
        if classifier.label_space.num_labels > MAX_DENSE_LABELS
        else _evaluate_all_labels
    )
    judged = evaluate_rows(
        classifier,
        rows,
        long_texts=long_texts,
        batch_size=batch_size,
        resamples=resamples,
        tune=tune,
        metric=metric,
    )
    scores = judged["label_scores"]
    warnings = check_split(
        rows.origin,
        judged["metrics"],
        {score.label: score.support for score in scores},
        rows=len(rows.texts),
        cells=rows.known_cells,
    )
    return Evaluation(
        model=model,
        data=rows.origin,
        rows=len(rows.texts),
        long_rows=classifier.count_long(rows.texts),
        long_texts=long_texts,
        warnings=warnings,
        **judged,
    )


def _evaluate_all_labels(
    classifier: Classifier,
    rows: EvaluationSet,
    *,
    long_texts: LongTexts,
    batch_size: int,
    resamples: int,
    tune: Scope | None,
    metric: str,
) -> dict[str, Any]:
    logits = classifier.compute_logits(
        rows.texts, batch_size=batch_size, long_texts=long_texts, progress=True
    )
    predictions, targets = classifier.decide(logits), rows.targets
    judged: dict[str, Any] = {}
    if tune is not None:
        judged["tuned"] = _cross_fitted(logits, targets, metric, tune)
        judged["thresholds"] = fit_thresholds(logits, targets, metric=metric, scope=tune)
    names = classifier.label_space.names
    return judged | {
        "metrics": compute_multi_label_metrics(logits, targets, predictions=predictions),
        "intervals": compute_intervals(
            logits, targets, predictions=predictions, resamples=resamples
        ),
        "label_scores": compute_label_scores(logits, targets, names, predictions=predictions),
    }


def _evaluate_top_k(
    classifier: Classifier,
    rows: EvaluationSet,
    *,
    long_texts: LongTexts,
    batch_size: int,
    tune: Scope | None,
    **_: Any,
) -> dict[str, Any]:
    """Of a large label space: what the best labels of each text tell."""
    if tune is not None:
        raise InputError("tuning: in a large label space train.py does it (tune_thresholds global)")
    best = classifier.compute_top_k(
        rows.texts, TOP_K, batch_size=batch_size, long_texts=long_texts, progress=True
    )
    positives = rows.positive_ids
    names = classifier.label_space.names
    return {
        "metrics": compute_top_k_metrics(best, positives),
        "intervals": {},
        "label_scores": compute_top_k_label_scores(best, positives, names),
    }


def _cross_fitted(
    logits: NDArray[np.float32], targets: NDArray[np.float32], metric: str, scope: Scope
) -> dict[str, float]:
    """Metrics with offsets that have not seen the rows they decide: two halves, each way round."""
    shuffled = np.random.default_rng(0).permutation(len(logits))
    halves = np.array_split(shuffled, 2)
    margins: Any = np.empty_like(logits)
    for fitted, judged in (halves, halves[::-1]):
        found = fit_thresholds(logits[fitted], targets[fitted], metric=metric, scope=scope)
        margins[judged] = logits[judged] - np.asarray(found.offsets, np.float32)
    return compute_multi_label_metrics(margins, targets)
