"""Evaluation of a model on labelled texts, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import LongTexts, Scope
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.data.seen_texts import SeenTexts
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_json
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.metrics.bootstrap import compute_intervals, explain_missing
from zlpr_hf.metrics.calibration import Calibration, fit_temperature
from zlpr_hf.metrics.intervals import Interval
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
    match_top_k,
)
from zlpr_hf.reports.provenance import find_versions
from zlpr_hf.reports.report import render_label_scores
from zlpr_hf.reports.sanity_checks import check_split
from zlpr_hf.reports.terminal import join_names, render_plain, table
from zlpr_hf.reports.verdict import COMPARED
from zlpr_hf.thresholds import Thresholds, move_logits

MAIN_METRICS = {**COMPARED, "precision_micro": "precision micro", "recall_micro": "recall micro"}
MAX_LABELS = 12
TOP_K = 100
"""Labels per text that are evaluated in a large label space."""


@dataclass(frozen=True)
class Evaluation:
    """All numbers of a model on labelled texts.

    ``intervals`` are 95 % bootstrap intervals, none in a large label space;
    ``missing_intervals`` are the reasons why metrics have none. The metrics ``tuned`` use offsets
    that were fitted on the other half of the rows, ``thresholds`` are fitted on all of them.
    ``calibration`` covers the best labels of each row in a large label space. ``temperature`` is
    fitted on all rows after the offsets, for a model that is saved with them; None without tuning.
    ``seen`` counts texts that the model was trained on (``train``), and others that chose its epoch
    or offsets (``validation``); it is empty if the model has no record of its texts.
    """

    model: str
    data: str
    rows: int
    long_rows: int
    long_texts: LongTexts
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    label_scores: list[LabelScore]
    missing_intervals: dict[str, str] = field(default_factory=dict)
    tuned: dict[str, float] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    temperature: float | None = None
    calibration: Calibration | None = None
    seen: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=find_versions)
    warnings: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write all numbers as JSON, atomically."""
        write_json(path, asdict(self))

    def render(self, *, all_metrics: bool = False) -> str:
        """Return tables for the terminal; the metrics that matter most, or all of them."""
        titles = dict.fromkeys(self.metrics, "") if all_metrics else MAIN_METRICS
        shown = {name: title or name for name, title in titles.items() if name in self.metrics}
        metrics = table("metric", "value", "95 % interval", *["tuned"] * bool(self.tuned))
        for name, title in shown.items():
            interval = self.intervals.get(name)
            between = "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
            tuned = [f"{self.tuned[name]:.4f}" if name in self.tuned else ""] * bool(self.tuned)
            metrics.add_row(title, f"{self.metrics[name]:.4f}", between, *tuned)
        lines = [f"{self.data}: {self.rows:,} texts", "", render_plain([metrics])]
        for why in dict.fromkeys(self.missing_intervals.values()):
            names = [
                title for name, title in shown.items() if self.missing_intervals.get(name) == why
            ]
            if names:
                lines.append(f"{join_names(names)}: no interval, {why}")
        if len(shown) < len(self.metrics):
            lines.append(f"{len(self.metrics) - len(shown)} more metrics: --all")
        limit = len(self.label_scores) if all_metrics else MAX_LABELS
        lines += ["", render_label_scores(self.label_scores, limit=limit)]
        if self.calibration is not None:
            lines.append(f"scores: {self.calibration.describe()}")
        if self.tuned:
            lines.append("tuned: offsets for each half of the rows were fitted on the other half")
        if self.long_rows:
            lines.append(
                f"{self.long_rows:,} of {self.rows:,} texts are longer than the model reads at "
                f"once; --long_texts {self.long_texts}"
            )
        lines += [f"warning: {each}" for each in self.warnings]
        return "\n".join(lines)


def evaluate(
    classifier: Classifier,
    rows: EvaluationSet,
    *,
    model: str,
    long_texts: LongTexts | None = None,
    batch_size: int = 32,
    resamples: int = 1000,
    tune: Scope | None = None,
    metric: str = "f1_macro",
    seen: SeenTexts | None = None,
) -> Evaluation:
    """Evaluate a model on labelled texts; ``tune`` also fits offsets that maximise ``metric``.

    ``seen`` is the record of the texts that the model was trained on.
    """
    long_texts = classifier.long_texts if long_texts is None else long_texts
    reading: dict[str, Any] = {"batch_size": batch_size, "long_texts": long_texts, "progress": True}
    if classifier.label_space.num_labels > MAX_DENSE_LABELS:
        if tune is not None:
            raise InputError(
                "tuning is not supported in a large label space; train with tune_thresholds global"
            )
        numbers = _evaluate_top_k(classifier, rows, reading)
    else:
        logits = classifier.compute_logits(rows.texts, **reading)
        numbers = _evaluate_logits(classifier, rows, logits, resamples)
        if tune is not None:
            limits = replace(classifier.thresholds, offsets=())
            fit = partial(
                fit_thresholds, metric=metric, scope=tune, min_labels=limits.min_labels,
                max_labels=limits.max_labels,
            )  # fmt: skip
            numbers["tuned"] = _cross_fit(logits, rows.targets, fit, limits)
            found = fit(logits, rows.targets)
            margins = move_logits(logits, found.offsets)
            numbers["thresholds"] = found
            numbers["temperature"] = fit_temperature(margins, rows.targets)
    judged = sorted(rows.judged_labels)
    warnings = check_split(
        rows.origin,
        numbers["metrics"],
        {numbers["label_scores"][i].label: numbers["label_scores"][i].support for i in judged},
        rows=rows.judged_rows,
        cells=rows.known_cells,
    )
    counts = {} if seen is None else seen.count(rows.texts)
    return Evaluation(
        model=model,
        data=rows.origin,
        rows=len(rows.texts),
        long_rows=classifier.count_long(rows.texts),
        long_texts=long_texts,
        warnings=[*_describe_seen(rows, counts), *warnings],
        seen=counts,
        **numbers,
    )


def _describe_seen(rows: EvaluationSet, counts: Mapping[str, int]) -> Iterator[str]:
    total = f"of {len(rows.texts):,} texts"
    if counts.get("train"):
        yield (
            f"{rows.origin}: the model was trained on {counts['train']:,} {total}; the metrics are "
            "too good for new texts"
        )
    if counts.get("validation"):
        yield (
            f"{rows.origin}: {counts['validation']:,} {total} chose the epoch or the offsets of "
            "the model; the metrics may be too good for new texts"
        )


def _evaluate_logits(
    classifier: Classifier, rows: EvaluationSet, logits: NDArray[np.float32], resamples: int
) -> dict[str, Any]:
    targets, predictions = rows.targets, classifier.decide(logits)
    names = classifier.label_space.names
    return {
        "metrics": compute_multi_label_metrics(logits, targets, predictions=predictions),
        "intervals": compute_intervals(
            logits, targets, predictions=predictions, resamples=resamples
        ),
        "missing_intervals": explain_missing(predictions, targets),
        "label_scores": compute_label_scores(logits, targets, names, predictions=predictions),
        "calibration": Calibration.measure(logits, targets),
    }


def _evaluate_top_k(
    classifier: Classifier, rows: EvaluationSet, reading: dict[str, Any]
) -> dict[str, Any]:
    if rows.known_cells < len(rows.texts) * rows.num_labels:
        raise InputError(
            f"{rows.origin}: some labels are unknown (-100, NaN, or without a column), which is "
            "not supported in a large label space; give all labels of the model"
        )
    best = classifier.compute_top_k(rows.texts, TOP_K, **reading)
    positives, names = rows.positive_ids, classifier.label_space.names
    return {
        "metrics": compute_top_k_metrics(best, positives),
        "intervals": {},
        "label_scores": compute_top_k_label_scores(best, positives, names),
        "calibration": Calibration.measure(best.logits, match_top_k(best, positives)),
    }


def _cross_fit(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    fit: Callable[[Any, Any], Thresholds],
    limits: Thresholds,
) -> dict[str, float]:
    """Return metrics with offsets for each half of the rows fitted on the other half."""
    halves = np.array_split(np.random.default_rng(0).permutation(len(logits)), 2)
    margins: Any = np.empty_like(logits)
    for fitted, evaluated in (halves, halves[::-1]):
        found = fit(logits[fitted], targets[fitted])
        margins[evaluated] = move_logits(logits[evaluated], found.offsets)
    return compute_multi_label_metrics(margins, targets, predictions=limits.apply(margins))
