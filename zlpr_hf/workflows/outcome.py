"""Evaluation at the end of a run: logits of splits, offsets, temperature, and all metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.choices import ThresholdTuning
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.errors import InputError
from zlpr_hf.inference.windows import find_blank
from zlpr_hf.losses.registry import loss_name
from zlpr_hf.metrics.calibration import Calibration, fit_temperature
from zlpr_hf.metrics.few_rows import find_min_labels, fit_few_row_thresholds
from zlpr_hf.metrics.multi_label import (
    LabelScore,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.metrics.rare_labels import fit_rare_label_offsets
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.metrics.top_k import (
    TopK,
    compute_top_k_label_scores,
    compute_top_k_metrics,
    fit_top_k_offset,
    match_top_k,
)
from zlpr_hf.models.head import classification_head, has_bias, reshard
from zlpr_hf.models.head_bias import add_head_bias
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, Thresholds, move_logits, scale_head
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.cross_fit import OutOfFold
from zlpr_hf.workflows.long_texts import LongTextRule, apply_long_texts, count_longer
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.prepare import Prepared
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)

SPLITS = ("validation", "test")
PROBE_ROWS = 8
"""Rows on which scaling the head is tried."""


@dataclass(frozen=True)
class Outcome:
    """Numbers of a trained model, with tuned offsets and a temperature folded into its head.

    ``untuned`` are the test metrics before both, if offsets were tuned; label scores and
    ``calibration`` are of the test split. All numbers are of texts read by ``long_texts``. In a
    large label space logits are never held, and ``calibration`` covers the best labels of each row.
    """

    metrics: dict[str, dict[str, float]]
    untuned: dict[str, float] | None
    label_scores: list[LabelScore]
    thresholds: Thresholds
    long_texts: LongTextRule
    temperature: float | None
    calibration: Calibration | None
    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    decisions: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


def evaluate_run(
    trainer: ZLPRTrainer,
    prepared: Prepared,
    arguments: ModelArguments,
    out_of_fold: OutOfFold | None = None,
) -> Outcome:
    """Choose how to read long texts, fit offsets and a temperature, fold them, compute metrics.

    ``out_of_fold`` has the logits that stand for a validation split. If there is no test split
    either, its metrics are those of these rows, with the offsets and the temperature of each fold
    fitted on the other folds.
    """
    if prepared.large:
        return _evaluate_top_k(trainer, prepared, arguments)
    data = prepared.data
    targets = {name: data.targets(name) for name in SPLITS}
    tuning = _choose_tuning(trainer, prepared, arguments.tune_thresholds)
    min_labels = arguments.min_labels
    if min_labels is None:
        learned = data.folds is not None and prepared.loss.label_sets is None
        min_labels = find_min_labels(data.targets("train")) if learned else 0
    fit = partial(
        _fit_thresholds,
        prepared=prepared,
        tuning=tuning,
        metric=arguments.threshold_metric,
        min_labels=min_labels,
    )
    long_texts, logits = apply_long_texts(
        prepared,
        _predict_cut_texts(trainer, prepared, out_of_fold),
        option=arguments.long_texts,
        predict=partial(_predict_windows, trainer, data, out_of_fold),
        decide=lambda logits, targets: fit(logits, targets).apply(logits),
    )
    ZLPRConfig.update(trainer.model.config, long_texts=long_texts.rule)  # type: ignore[union-attr]
    scales = _head_scales_logits(trainer, prepared.encoded["validation"])
    final = _fit_head(logits["validation"], targets["validation"], fit, scales=scales)
    untuned = None
    if final.thresholds.offsets:
        untuned = compute_multi_label_metrics(logits["test"], targets["test"])
    if data.split_of("test") == "train":
        assert data.folds is not None
        held_out = np.empty_like(logits["validation"])
        for fold in range(int(data.folds.max()) + 1):
            rows = data.folds == fold
            known = logits["validation"][~rows], targets["validation"][~rows]
            held_out[rows] = _fit_head(*known, fit, scales=scales).apply(logits["test"][rows])
        logits = {"validation": final.apply(logits["validation"]), "test": held_out}
    else:
        logits = {name: final.apply(values) for name, values in logits.items()}
    rest = Thresholds(min_labels=min_labels)
    decisions = {name: rest.apply(values) for name, values in logits.items()}
    calibration = Calibration.measure(logits["test"], targets["test"])
    _fold(trainer.model, final.thresholds, final.temperature, calibration)
    return Outcome(
        {
            name: compute_multi_label_metrics(logits[name], targets[name], predictions=decided)
            for name, decided in decisions.items()
        },
        untuned,
        compute_label_scores(
            logits["test"],
            targets["test"],
            data.label_space.names,
            predictions=decisions["test"],
        ),
        final.thresholds,
        long_texts,
        final.temperature,
        calibration,
        logits,
        decisions,
    )


@dataclass(frozen=True)
class _Fit:
    """Offsets and a temperature, before they are folded into the head."""

    thresholds: Thresholds
    temperature: float | None

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits that the head will compute."""
        return move_logits(logits, self.thresholds.offsets or 0.0, self.temperature)


def _fit_head(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    fit: Callable[[Any, Any], Thresholds],
    *,
    scales: bool,
) -> _Fit:
    thresholds = fit(logits, targets)
    moved = _Fit(thresholds, None).apply(logits)
    return _Fit(thresholds, fit_temperature(moved, targets) if scales else None)


def _predict_cut_texts(
    trainer: ZLPRTrainer, prepared: Prepared, out_of_fold: OutOfFold | None
) -> dict[str, NDArray[np.float32]]:
    """Return the logits of validation and test texts, cut at the maximum length."""
    logits: dict[str, NDArray[np.float32]] = {}
    for name in SPLITS:
        if out_of_fold is not None and prepared.data.split_of(name) == "train":
            found = out_of_fold.logits
        else:
            found = predict_logits(trainer, prepared.encoded[name])
        logits[name] = without_blank(found, prepared.data.texts(name))
    return logits


def _predict_windows(
    trainer: ZLPRTrainer,
    data: LabelledData,
    out_of_fold: OutOfFold | None,
    split: str,
    windows: Dataset,
) -> NDArray[np.float32]:
    if out_of_fold is not None and data.split_of(split) == "train":
        return out_of_fold.of_windows(windows)
    return predict_logits(trainer, windows)


def _choose_tuning(
    trainer: ZLPRTrainer, prepared: Prepared, option: ThresholdTuning
) -> ThresholdTuning:
    """Return how offsets are fitted: those of ``auto`` need decisions at zero and all targets."""
    loss = prepared.loss
    if option in ("auto", "none") and not loss.decides_at_zero:
        logger.info("fitting one offset: loss %s has no threshold", loss_name(loss))
        return "global"
    if option != "auto":
        return option
    if prepared.data.folds is not None and loss.label_sets is None and has_bias(trainer.model):
        return "shrunk"
    fits = loss.label_sets is None and not isinstance(prepared.data, StreamedData)
    return "rare_labels" if fits and has_bias(trainer.model) else "none"


def _fit_thresholds(
    logits: Any,
    targets: Any,
    *,
    prepared: Prepared,
    tuning: ThresholdTuning,
    metric: str,
    min_labels: int,
) -> Thresholds:
    if tuning == "shrunk":
        return fit_few_row_thresholds(logits, targets, min_labels=min_labels)
    if tuning == "rare_labels":
        are_train_rows = prepared.data.split_of("validation") == "train"
        train_targets = targets if are_train_rows else prepared.data.targets("train")
        return fit_rare_label_offsets(logits, targets, train_targets, min_labels=min_labels)
    if tuning == "global" or tuning == "per_label":
        return fit_thresholds(logits, targets, metric=metric, scope=tuning, min_labels=min_labels)
    return Thresholds(min_labels=min_labels)


def without_blank(
    logits: NDArray[np.float32], texts: Sequence[tuple[str, ...]]
) -> NDArray[np.float32]:
    """Return logits without any label for blank texts, as :class:`zlpr_hf.Classifier` does."""
    blank = find_blank(texts)
    return np.where(blank[:, None], np.float32(-MAX_LOGIT_THRESHOLD), logits)


def _head_scales_logits(trainer: ZLPRTrainer, rows: Dataset) -> bool:
    """Return whether all logits double with the head, so that a temperature may divide both.

    Doubling and halving are exact. A model that bounds its logits keeps its scores as they are.
    """
    model: Any = trainer.model
    probe = rows.select(range(min(len(rows), PROBE_ROWS)))
    single = predict_logits(trainer, probe)
    try:
        head = classification_head(model)
    except ValueError:
        scales = False
    else:
        reshard(model)
        scale_head(head, 2)
        double = predict_logits(trainer, probe)
        reshard(model)
        scale_head(head, 0.5)
        scales = np.allclose(double, 2 * single, rtol=1e-3, atol=1e-3 * np.abs(single).max())
    if not scales:
        kind = type(model).__name__
        logger.warning("scores are not calibrated: %s ends with no plain linear layer", kind)
    return scales


def _evaluate_top_k(trainer: ZLPRTrainer, prepared: Prepared, arguments: ModelArguments) -> Outcome:
    """Evaluate a large label space from the best labels of each row."""
    data = prepared.data
    long_texts = LongTextRule("cut", **count_longer(prepared), reason="large label space")
    ZLPRConfig.update(trainer.model.config, long_texts=long_texts.rule)  # type: ignore[union-attr]
    positives = {name: data.positive_ids(name) for name in SPLITS}
    best = {
        name: _predict_top_k(trainer, prepared.encoded[name], data.texts(name)) for name in SPLITS
    }
    thresholds, untuned = Thresholds(), None
    if arguments.tune_thresholds == "global":
        offset = fit_top_k_offset(
            best["validation"], positives["validation"], metric=arguments.threshold_metric
        )
        thresholds = Thresholds((offset,) * data.label_space.num_labels)
        untuned = compute_top_k_metrics(best["test"], positives["test"])
        best = {name: top_k.shifted(offset) for name, top_k in best.items()}
    correct = {name: match_top_k(best[name], positives[name]) for name in SPLITS}
    temperature = fit_temperature(best["validation"].logits, correct["validation"])
    best = {name: top_k.scaled(1 / temperature) for name, top_k in best.items()}
    calibration = Calibration.measure(best["test"].logits, correct["test"])
    _fold(trainer.model, thresholds, temperature, calibration)
    return Outcome(
        {name: compute_top_k_metrics(best[name], positives[name]) for name in SPLITS},
        untuned,
        compute_top_k_label_scores(best["test"], positives["test"], data.label_space.names),
        thresholds,
        long_texts,
        temperature,
        calibration,
    )


def _fold(
    model: Any,
    thresholds: Thresholds,
    temperature: float | None,
    calibration: Calibration | None,
) -> None:
    """Fold offsets and temperature into the head, and record both in the configuration."""
    if thresholds != Thresholds() or temperature is not None:
        rule = thresholds if thresholds != Thresholds() else Thresholds.from_config(model.config)
        reshard(model)
        if any(rule.offsets):
            add_head_bias(model, "the offset of a label")
        rule.fold_into(classification_head(model), model.config, temperature=temperature)
    if calibration is not None:
        ZLPRConfig.update(model.config, calibration=asdict(calibration))


def predict_logits(trainer: ZLPRTrainer, rows: Dataset) -> NDArray[np.float32]:
    """Return logits ``(N, L)`` of encoded rows, in the order of the rows."""
    (logits,) = _predict_in_order(trainer, rows)
    return logits


def _predict_top_k(trainer: ZLPRTrainer, rows: Dataset, texts: Sequence[tuple[str, ...]]) -> TopK:
    logits, ids = _predict_in_order(trainer, rows)
    config: Any = trainer.model.config  # type: ignore[union-attr]
    return TopK(without_blank(logits, texts), ids, config.num_labels)


def _predict_in_order(trainer: ZLPRTrainer, rows: Dataset) -> list[NDArray[Any]]:
    """Predict the longest rows first, so that batches need little padding."""
    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    # The caller computes metrics, from all rows in their order.
    compute_metrics, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        predicted = trainer.predict(rows.select(order)).predictions
    finally:
        trainer.compute_metrics = compute_metrics
    parts = list(predicted) if isinstance(predicted, tuple) else [predicted]
    if np.isnan(parts[0]).any():
        raise InputError("training failed: logits are NaN; lower learning_rate, or set bf16 false")
    back = np.argsort(order)
    return [part[back] for part in parts]
