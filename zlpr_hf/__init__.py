"""Multi-label text classification with the ZLPR loss, for Hugging Face Transformers."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zlpr_hf.errors import InputError
    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.pipeline import (
        MultiLabelClassificationPipeline,
        load_pipeline,
        register_pipeline,
    )
    from zlpr_hf.labels import LabelSets, LabelSpace
    from zlpr_hf.losses.baselines import (
        asymmetric_loss,
        bce_loss,
        bp_mll_loss,
        focal_loss,
        lsep_loss,
    )
    from zlpr_hf.losses.large_label_space import (
        linear_top_k,
        linear_zlpr_loss,
        zlpr_loss_from_indices,
    )
    from zlpr_hf.losses.modules import (
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
    from zlpr_hf.losses.powerset import powerset_label_scores, powerset_loss
    from zlpr_hf.losses.registry import build_compute_loss_func
    from zlpr_hf.losses.smoothing import smooth_targets
    from zlpr_hf.losses.zlpr import (
        bernoulli_divergence,
        zlpr_divergence,
        zlpr_loss,
        zlpr_probabilities,
    )
    from zlpr_hf.metrics.multi_label import (
        MultiLabelMetrics,
        compute_decision_metrics,
        compute_label_scores,
        compute_multi_label_metrics,
    )
    from zlpr_hf.metrics.threshold_tuning import fit_thresholds
    from zlpr_hf.models.loading import load_model, load_tokenizer
    from zlpr_hf.reports.report import Report
    from zlpr_hf.thresholds import Thresholds
    from zlpr_hf.training.arguments import ZLPRTrainingArguments
    from zlpr_hf.training.trainer import ZLPRTrainer
    from zlpr_hf.workflows.arguments import DataArguments, ModelArguments
    from zlpr_hf.workflows.finetune import finetune

__version__ = version(__name__)

# Name to module, loaded on first use: importing torch takes seconds and transformers more.
_HOME = {
    "AsymmetricLoss": "losses.modules",
    "BCELoss": "losses.modules",
    "BPMLLLoss": "losses.modules",
    "Classifier": "inference.classifier",
    "DataArguments": "workflows.arguments",
    "FocalLoss": "losses.modules",
    "InputError": "errors",
    "LOSSES": "losses.modules",
    "LSEPLoss": "losses.modules",
    "LabelSets": "labels",
    "LabelSpace": "labels",
    "ModelArguments": "workflows.arguments",
    "MultiLabelClassificationPipeline": "inference.pipeline",
    "MultiLabelMetrics": "metrics.multi_label",
    "PowersetLoss": "losses.modules",
    "Report": "reports.report",
    "Thresholds": "thresholds",
    "WeightedBCELoss": "losses.modules",
    "ZLPRLoss": "losses.modules",
    "ZLPRTrainer": "training.trainer",
    "ZLPRTrainingArguments": "training.arguments",
    "asymmetric_loss": "losses.baselines",
    "bce_loss": "losses.baselines",
    "bernoulli_divergence": "losses.zlpr",
    "bp_mll_loss": "losses.baselines",
    "build_compute_loss_func": "losses.registry",
    "build_loss": "losses.modules",
    "compute_decision_metrics": "metrics.multi_label",
    "compute_label_scores": "metrics.multi_label",
    "compute_multi_label_metrics": "metrics.multi_label",
    "finetune": "workflows.finetune",
    "fit_thresholds": "metrics.threshold_tuning",
    "focal_loss": "losses.baselines",
    "linear_top_k": "losses.large_label_space",
    "linear_zlpr_loss": "losses.large_label_space",
    "load_model": "models.loading",
    "load_pipeline": "inference.pipeline",
    "load_tokenizer": "models.loading",
    "lsep_loss": "losses.baselines",
    "powerset_label_scores": "losses.powerset",
    "powerset_loss": "losses.powerset",
    "register_pipeline": "inference.pipeline",
    "smooth_targets": "losses.smoothing",
    "zlpr_divergence": "losses.zlpr",
    "zlpr_loss": "losses.zlpr",
    "zlpr_loss_from_indices": "losses.large_label_space",
    "zlpr_probabilities": "losses.zlpr",
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
