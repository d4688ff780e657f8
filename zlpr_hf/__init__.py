"""Multi-label text classification with the ZLPR loss, for Hugging Face Transformers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zlpr_hf.arguments import DataArguments, ModelArguments
    from zlpr_hf.baselines import asymmetric_loss, bce_loss, bp_mll_loss, focal_loss, lsep_loss
    from zlpr_hf.classifier import Classifier
    from zlpr_hf.compute_loss_func import build_compute_loss_func
    from zlpr_hf.errors import InputError
    from zlpr_hf.finetuning import finetune
    from zlpr_hf.functional import (
        bernoulli_divergence,
        zlpr_divergence,
        zlpr_loss,
        zlpr_probabilities,
    )
    from zlpr_hf.label_space import LabelSpace
    from zlpr_hf.large_labels import linear_top_k, linear_zlpr_loss, zlpr_loss_from_indices
    from zlpr_hf.losses import (
        LOSSES,
        AsymmetricLoss,
        BCELoss,
        BPMLLLoss,
        FocalLoss,
        LSEPLoss,
        PowersetLoss,
        WeightedBCELoss,
        ZLPRLoss,
        build_loss,
    )
    from zlpr_hf.metrics import (
        MultiLabelMetrics,
        compute_decision_metrics,
        compute_label_scores,
        compute_multi_label_metrics,
    )
    from zlpr_hf.modeling import load_model, load_tokenizer
    from zlpr_hf.pipeline import (
        MultiLabelClassificationPipeline,
        load_pipeline,
        register_pipeline,
    )
    from zlpr_hf.powerset import LabelSets, powerset_label_scores, powerset_loss
    from zlpr_hf.report import Report
    from zlpr_hf.smoothing import smooth_targets
    from zlpr_hf.thresholds import Thresholds, fit_thresholds
    from zlpr_hf.trainer import ZLPRTrainer
    from zlpr_hf.training_arguments import ZLPRTrainingArguments

__version__ = "0.1.0"

# Name to module, loaded on first use: importing torch takes seconds and transformers more.
_HOME = {
    "AsymmetricLoss": "losses",
    "BCELoss": "losses",
    "BPMLLLoss": "losses",
    "Classifier": "classifier",
    "DataArguments": "arguments",
    "FocalLoss": "losses",
    "InputError": "errors",
    "LOSSES": "losses",
    "LSEPLoss": "losses",
    "LabelSets": "powerset",
    "LabelSpace": "label_space",
    "ModelArguments": "arguments",
    "MultiLabelClassificationPipeline": "pipeline",
    "MultiLabelMetrics": "metrics",
    "PowersetLoss": "losses",
    "Report": "report",
    "Thresholds": "thresholds",
    "WeightedBCELoss": "losses",
    "ZLPRLoss": "losses",
    "ZLPRTrainer": "trainer",
    "ZLPRTrainingArguments": "training_arguments",
    "asymmetric_loss": "baselines",
    "bce_loss": "baselines",
    "bernoulli_divergence": "functional",
    "bp_mll_loss": "baselines",
    "build_compute_loss_func": "compute_loss_func",
    "build_loss": "losses",
    "compute_decision_metrics": "metrics",
    "compute_label_scores": "metrics",
    "compute_multi_label_metrics": "metrics",
    "finetune": "finetuning",
    "fit_thresholds": "thresholds",
    "focal_loss": "baselines",
    "linear_top_k": "large_labels",
    "linear_zlpr_loss": "large_labels",
    "load_model": "modeling",
    "load_pipeline": "pipeline",
    "load_tokenizer": "modeling",
    "lsep_loss": "baselines",
    "powerset_label_scores": "powerset",
    "powerset_loss": "powerset",
    "register_pipeline": "pipeline",
    "smooth_targets": "smoothing",
    "zlpr_divergence": "functional",
    "zlpr_loss": "functional",
    "zlpr_loss_from_indices": "large_labels",
    "zlpr_probabilities": "functional",
}

__all__ = [
    "AsymmetricLoss",
    "BCELoss",
    "BPMLLLoss",
    "Classifier",
    "DataArguments",
    "FocalLoss",
    "InputError",
    "LOSSES",
    "LSEPLoss",
    "LabelSets",
    "LabelSpace",
    "ModelArguments",
    "MultiLabelClassificationPipeline",
    "MultiLabelMetrics",
    "PowersetLoss",
    "Report",
    "Thresholds",
    "WeightedBCELoss",
    "ZLPRLoss",
    "ZLPRTrainer",
    "ZLPRTrainingArguments",
    "asymmetric_loss",
    "bce_loss",
    "bernoulli_divergence",
    "bp_mll_loss",
    "build_compute_loss_func",
    "build_loss",
    "compute_decision_metrics",
    "compute_label_scores",
    "compute_multi_label_metrics",
    "finetune",
    "fit_thresholds",
    "focal_loss",
    "linear_top_k",
    "linear_zlpr_loss",
    "load_model",
    "load_pipeline",
    "load_tokenizer",
    "lsep_loss",
    "powerset_label_scores",
    "powerset_loss",
    "register_pipeline",
    "smooth_targets",
    "zlpr_divergence",
    "zlpr_loss",
    "zlpr_loss_from_indices",
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
