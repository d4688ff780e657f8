"""Multi-label text classification with the ZLPR loss, for Hugging Face Transformers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zlpr_hf.arguments import DataArguments, ModelArguments
    from zlpr_hf.errors import InputError
    from zlpr_hf.finetuning import finetune
    from zlpr_hf.functional import bce_loss, zlpr_loss, zlpr_probabilities
    from zlpr_hf.label_space import LabelSpace
    from zlpr_hf.losses import LOSSES, BCELoss, ZLPRLoss, build_loss
    from zlpr_hf.metrics import MultiLabelMetrics, compute_label_scores, compute_multi_label_metrics
    from zlpr_hf.modeling import load_model, load_tokenizer
    from zlpr_hf.report import Report
    from zlpr_hf.thresholds import Thresholds, fit_thresholds
    from zlpr_hf.trainer import ZLPRTrainer, ZLPRTrainingArguments, build_compute_loss_func

__version__ = "0.1.0"

# Name to module, loaded on first use: importing torch takes seconds and transformers more.
_HOME = {
    "BCELoss": "losses",
    "DataArguments": "arguments",
    "InputError": "errors",
    "LOSSES": "losses",
    "LabelSpace": "label_space",
    "ModelArguments": "arguments",
    "MultiLabelMetrics": "metrics",
    "Report": "report",
    "Thresholds": "thresholds",
    "ZLPRLoss": "losses",
    "ZLPRTrainer": "trainer",
    "ZLPRTrainingArguments": "trainer",
    "bce_loss": "functional",
    "build_compute_loss_func": "trainer",
    "build_loss": "losses",
    "compute_label_scores": "metrics",
    "compute_multi_label_metrics": "metrics",
    "finetune": "finetuning",
    "fit_thresholds": "thresholds",
    "load_model": "modeling",
    "load_tokenizer": "modeling",
    "zlpr_loss": "functional",
    "zlpr_probabilities": "functional",
}

__all__ = [
    "LOSSES",
    "BCELoss",
    "DataArguments",
    "InputError",
    "LabelSpace",
    "ModelArguments",
    "MultiLabelMetrics",
    "Report",
    "Thresholds",
    "ZLPRLoss",
    "ZLPRTrainer",
    "ZLPRTrainingArguments",
    "bce_loss",
    "build_compute_loss_func",
    "build_loss",
    "compute_label_scores",
    "compute_multi_label_metrics",
    "finetune",
    "fit_thresholds",
    "load_model",
    "load_tokenizer",
    "zlpr_loss",
    "zlpr_probabilities",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found without this function the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
