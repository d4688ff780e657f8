"""Logits of whole splits: computing them in order, writing and reading them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.trainer import ZLPRTrainer


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
    order = np.argsort(-np.asarray(rows["length"]), kind="stable")
    # Metrics are computed once, from all logits in order, and not by the trainer.
    compute_metrics, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        predicted = trainer.predict(rows.select(order)).predictions
    finally:
        trainer.compute_metrics = compute_metrics
    if np.isnan(predicted).any():
        raise InputError(
            "training went wrong: logits are NaN; lower learning_rate, or set bf16 false"
        )
    logits = np.empty_like(predicted, dtype=np.float32)
    logits[order] = predicted
    return logits


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
    part = path.with_name("part-" + path.name)
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    os.replace(part, path)
