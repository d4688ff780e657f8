"""Logits of whole splits: computing them in order, writing and reading them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import whole_file
from zlpr_hf.metrics.top_k import TopK
from zlpr_hf.training.trainer import ZLPRTrainer


def predict_logits(trainer: ZLPRTrainer, rows: Dataset) -> NDArray[np.float32]:
    """Logits in the order of the rows; computed longest first, so that batches pad little.

    Args:
        trainer: A trainer with its collator.
        rows: Encoded rows with ``length``.

    Shape:
        Result: ``(N, L)``.

    Returns:
        Logits in float32.
    """
    (logits,) = _predict_in_order(trainer, rows)
    return logits


def predict_top_k(trainer: ZLPRTrainer, rows: Dataset) -> TopK:
    """The best labels in the order of the rows, for a trainer with ``large_label_space``.

    Args:
        trainer: A trainer with its collator.
        rows: Encoded rows with ``length``.

    Returns:
        The best labels of each row.

    Raises:
        InputError: If logits are NaN.
    """
    logits, ids = _predict_in_order(trainer, rows)
    config: Any = trainer.model.config  # type: ignore[union-attr]
    return TopK(logits, ids, config.num_labels)


def save_logits(
    path: Path, logits: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
) -> None:
    """Write logits and targets of the splits for a study of one's own.

    Args:
        path: A file for ``numpy.load``: ``validation_logits``, ``validation_targets`` and so on.
        logits: Split to logits ``(N, L)``.
        targets: Targets ``(N, L)`` of these splits.
    """
    arrays = {f"{name}_logits": values for name, values in logits.items()}
    arrays |= {f"{name}_targets": targets[name] for name in logits}
    with whole_file(path) as part:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]


def _predict_in_order(trainer: ZLPRTrainer, rows: Dataset) -> list[NDArray[Any]]:
    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    # Metrics are computed once, from all rows in order, and not by the trainer.
    compute_metrics, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        predicted = trainer.predict(rows.select(order)).predictions
    finally:
        trainer.compute_metrics = compute_metrics
    parts = list(predicted) if isinstance(predicted, tuple) else [predicted]
    if np.isnan(parts[0]).any():
        raise InputError(
            "training went wrong: logits are NaN; lower learning_rate, or set bf16 false"
        )
    back = np.argsort(order)
    return [part[back] for part in parts]
