"""Outcome: what a trained model does on validation and test, with its offsets in its bias."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.choices import Scope
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.losses.registry import loss_name
from zlpr_hf.metrics.multi_label import (
    LabelScore,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.metrics.threshold_tuning import fit_thresholds
from zlpr_hf.metrics.top_k import (
    compute_top_k_label_scores,
    compute_top_k_metrics,
    fit_top_k_offset,
)
from zlpr_hf.models.head import classification_head
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.training.trainer import ZLPRTrainer
from zlpr_hf.workflows.logits import predict_logits, predict_top_k

logger = logging.getLogger(__name__)

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Outcome:
    """Numbers of a trained model.

    Args:
        metrics: Of the model as it is saved, split by split.
        untuned: Test metrics before offsets were tuned; None where none were.
        label_scores: On the test split, label by label.
        thresholds: Offsets that were tuned and are in the bias now.
        logits: Of both splits; empty for a large label space, where nobody holds them.
    """

    metrics: dict[str, dict[str, float]]
    untuned: dict[str, float] | None
    label_scores: list[LabelScore]
    thresholds: Thresholds
    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def evaluate_run(
    trainer: ZLPRTrainer,
    encoded: Mapping[str, Dataset],
    data: LabelledData,
    *,
    loss: MultiLabelLoss,
    tune_thresholds: str,
    metric: str,
) -> Outcome:
    """Tune offsets on validation if asked, fold them into the head, and compute all metrics.

    Args:
        trainer: With the trained model.
        encoded: Split to encoded rows.
        data: Their labels.
        loss: What it was trained with.
        tune_thresholds: ``none``, ``global`` or ``per_label``.
        metric: What the offsets maximise.

    Returns:
        Metrics, label by label too.
    """
    targets = {name: data.targets(name) for name in SPLITS}
    logits = {name: predict_logits(trainer, encoded[name]) for name in SPLITS}
    if tune_thresholds == "none" and not loss.decides_at_zero:
        logger.info("loss %s has no zero of its own: one offset is fitted", loss_name(loss))
        tune_thresholds = "global"
    thresholds, untuned = Thresholds(), None
    if tune_thresholds != "none":
        scope: Scope = tune_thresholds  # type: ignore[assignment]
        thresholds = fit_thresholds(
            logits["validation"], targets["validation"], metric=metric, scope=scope
        )
        untuned = compute_multi_label_metrics(logits["test"], targets["test"])
        _fold(thresholds, trainer.model)
        offsets = np.asarray(thresholds.offsets, np.float32)
        logits = {name: values - offsets for name, values in logits.items()}
    return Outcome(
        {name: compute_multi_label_metrics(logits[name], targets[name]) for name in SPLITS},
        untuned,
        compute_label_scores(logits["test"], targets["test"], data.label_space.names),
        thresholds,
        logits,
    )


def evaluate_top_k(
    trainer: ZLPRTrainer,
    encoded: Mapping[str, Dataset],
    data: LabelledData,
    *,
    tune: bool,
    metric: str,
) -> Outcome:
    """The same for a large label space, from the best labels of each row.

    Args:
        trainer: With ``large_label_space``.
        encoded: Split to encoded rows.
        data: Their labels, hard ones.
        tune: Whether to fit one offset for all labels.
        metric: What it maximises.

    Returns:
        Metrics, label by label too.
    """
    positives = {name: data.positive_ids(name) for name in SPLITS}
    best = {name: predict_top_k(trainer, encoded[name]) for name in SPLITS}
    thresholds, untuned = Thresholds(), None
    if tune:
        offset = fit_top_k_offset(best["validation"], positives["validation"], metric=metric)
        thresholds = Thresholds((offset,) * data.label_space.num_labels)
        untuned = compute_top_k_metrics(best["test"], positives["test"])
        _fold(thresholds, trainer.model)
        best = {name: top_k.shifted(offset) for name, top_k in best.items()}
    return Outcome(
        {name: compute_top_k_metrics(best[name], positives[name]) for name in SPLITS},
        untuned,
        compute_top_k_label_scores(best["test"], positives["test"], data.label_space.names),
        thresholds,
    )


def _fold(thresholds: Thresholds, model: Any) -> None:
    thresholds.fold_into(classification_head(model), model.config)
