"""Reports of imaginary runs, from given or random logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zlpr_hf.data.profile import DataProfile, SplitProfile
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.multi_label import (
    compute_decision_metrics,
    compute_label_scores,
    compute_multi_label_metrics,
)
from zlpr_hf.reports.model_card import CardFacts
from zlpr_hf.reports.report import MODEL_ROW, Report
from zlpr_hf.thresholds import Thresholds

NAMES = ["red", "green", "blue", "grey", "never there"]
FACTS = CardFacts(name="out/colours", base_model="google-bert/bert-base-uncased", max_length=64)


def make_logits(rows: int = 60, labels: int = 5, seed: int = 0) -> tuple[Any, Any]:
    """Logits and targets; the last label is never present."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((rows, labels)) < 0.3).astype(np.float32)
    targets[:, -1] = 0
    logits = 3 * targets - 1.5 + generator.normal(size=targets.shape)
    return logits.astype(np.float32), targets


def make_report(
    names: Sequence[str], logits: Any, targets: Any, training: dict[str, Any] | None = None
) -> Report:
    """A report whose test numbers are those of logits and targets."""
    known = np.nan_to_num(np.asarray(targets, dtype=np.float32), nan=-1)
    counts = dict(zip(names, (known >= 0.5).sum(0).tolist(), strict=True))
    split = SplitProfile(len(targets), 1.25, 0.25, 3, 0, 0.125, 0, counts)
    basics = {
        "loss": "zlpr", "steps": 1234, "seconds": 75.4, "seed": 31337, "bf16": False,
        "processes": 1, "resumed_from": None, "outputs": len(names),
    }  # fmt: skip
    return Report(
        output_dir="/srv/secret/out/colours",
        test={
            "most frequent label set": compute_decision_metrics(np.asarray(logits) > 9, targets),
            MODEL_ROW: compute_multi_label_metrics(logits, targets),
        },
        validation={"f1_micro": 0.98765},
        label_scores=compute_label_scores(np.clip(logits, -1e9, 1e9), targets, names),
        thresholds=Thresholds(),
        profile=DataProfile(dict.fromkeys(("train", "validation", "test"), split), {}, {}),
        training=basics | (training or {}),
        intervals=compute_intervals(np.clip(logits, -1e9, 1e9), targets),
    )


def random_report(names: Sequence[str], **training: Any) -> Report:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, len(names)))
    targets = (logits + generator.normal(size=logits.shape) > 0).astype(int)
    return make_report(names, logits, targets, training)
