"""Multi-label text classification with the ZLPR loss, for Hugging Face Transformers."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zlpr_hf.errors import InputError as InputError
    from zlpr_hf.inference.classifier import Classifier as Classifier
    from zlpr_hf.inference.pipeline import (
        MultiLabelClassificationPipeline as MultiLabelClassificationPipeline,
        load_pipeline as load_pipeline,
        register_pipeline as register_pipeline,
    )
    from zlpr_hf.labels import LabelSets as LabelSets, LabelSpace as LabelSpace
    from zlpr_hf.losses.balanced import (
        ClassBalancedLoss as ClassBalancedLoss,
        DistributionBalancedLoss as DistributionBalancedLoss,
        class_balanced_loss as class_balanced_loss,
        distribution_balanced_loss as distribution_balanced_loss,
    )
    from zlpr_hf.losses.batch_wise import (
        SigmoidF1Loss as SigmoidF1Loss,
        TwoWayLoss as TwoWayLoss,
        sigmoid_f1_loss as sigmoid_f1_loss,
        two_way_loss as two_way_loss,
    )
    from zlpr_hf.losses.binary_relevance import (
        asymmetric_loss as asymmetric_loss,
        bce_loss as bce_loss,
        focal_loss as focal_loss,
    )
    from zlpr_hf.losses.large_label_space import (
        linear_top_k as linear_top_k,
        linear_zlpr_loss as linear_zlpr_loss,
        zlpr_loss_from_indices as zlpr_loss_from_indices,
    )
    from zlpr_hf.losses.missing_labels import (
        HillLoss as HillLoss,
        SPLCLoss as SPLCLoss,
        hill_loss as hill_loss,
        splc_loss as splc_loss,
    )
    from zlpr_hf.losses.modules import (
        AsymmetricLoss as AsymmetricLoss,
        BCELoss as BCELoss,
        BPMLLLoss as BPMLLLoss,
        FocalLoss as FocalLoss,
        LSEPLoss as LSEPLoss,
        PowersetLoss as PowersetLoss,
        WeightedBCELoss as WeightedBCELoss,
        ZLPRLoss as ZLPRLoss,
    )
    from zlpr_hf.losses.polynomial import (
        Poly1Loss as Poly1Loss,
        RobustAsymmetricLoss as RobustAsymmetricLoss,
        poly1_loss as poly1_loss,
        robust_asymmetric_loss as robust_asymmetric_loss,
    )
    from zlpr_hf.losses.powerset import (
        powerset_label_scores as powerset_label_scores,
        powerset_loss as powerset_loss,
    )
    from zlpr_hf.losses.ranking import bp_mll_loss as bp_mll_loss, lsep_loss as lsep_loss
    from zlpr_hf.losses.registry import (
        LOSSES as LOSSES,
        build_compute_loss_func as build_compute_loss_func,
        build_loss as build_loss,
    )
    from zlpr_hf.losses.smoothing import smooth_targets as smooth_targets
    from zlpr_hf.losses.zlpr import (
        zlpr_divergence as zlpr_divergence,
        zlpr_loss as zlpr_loss,
        zlpr_probabilities as zlpr_probabilities,
    )
    from zlpr_hf.metrics.calibration import fit_temperature as fit_temperature
    from zlpr_hf.metrics.multi_label import (
        MultiLabelMetrics as MultiLabelMetrics,
        compute_decision_metrics as compute_decision_metrics,
        compute_label_scores as compute_label_scores,
        compute_multi_label_metrics as compute_multi_label_metrics,
    )
    from zlpr_hf.metrics.risk_control import fit_guarantee as fit_guarantee
    from zlpr_hf.metrics.threshold_tuning import fit_thresholds as fit_thresholds
    from zlpr_hf.models.loading import load_model as load_model
    from zlpr_hf.models.tokenizer import load_tokenizer as load_tokenizer
    from zlpr_hf.reports.report import Report as Report
    from zlpr_hf.thresholds import Thresholds as Thresholds
    from zlpr_hf.training.arguments import ZLPRTrainingArguments as ZLPRTrainingArguments
    from zlpr_hf.training.trainer import ZLPRTrainer as ZLPRTrainer
    from zlpr_hf.workflows.data_arguments import DataArguments as DataArguments
    from zlpr_hf.workflows.estimator import ZLPRClassifier as ZLPRClassifier
    from zlpr_hf.workflows.finetune import finetune as finetune
    from zlpr_hf.workflows.model_arguments import ModelArguments as ModelArguments
    from zlpr_hf.workflows.push import push_folder as push_folder

__version__ = version(__name__)

# Loaded on first use: importing torch takes seconds, and transformers takes longer.
_NAMES = {
    "errors": ("InputError",),
    "inference.classifier": ("Classifier",),
    "inference.pipeline": (
        "MultiLabelClassificationPipeline",
        "load_pipeline",
        "register_pipeline",
    ),
    "labels": (
        "LabelSets",
        "LabelSpace",
    ),
    "losses.balanced": (
        "ClassBalancedLoss",
        "DistributionBalancedLoss",
        "class_balanced_loss",
        "distribution_balanced_loss",
    ),
    "losses.batch_wise": (
        "SigmoidF1Loss",
        "TwoWayLoss",
        "sigmoid_f1_loss",
        "two_way_loss",
    ),
    "losses.binary_relevance": (
        "asymmetric_loss",
        "bce_loss",
        "focal_loss",
    ),
    "losses.large_label_space": (
        "linear_top_k",
        "linear_zlpr_loss",
        "zlpr_loss_from_indices",
    ),
    "losses.missing_labels": (
        "HillLoss",
        "SPLCLoss",
        "hill_loss",
        "splc_loss",
    ),
    "losses.modules": (
        "AsymmetricLoss",
        "BCELoss",
        "BPMLLLoss",
        "FocalLoss",
        "LSEPLoss",
        "PowersetLoss",
        "WeightedBCELoss",
        "ZLPRLoss",
    ),
    "losses.polynomial": (
        "Poly1Loss",
        "RobustAsymmetricLoss",
        "poly1_loss",
        "robust_asymmetric_loss",
    ),
    "losses.powerset": (
        "powerset_label_scores",
        "powerset_loss",
    ),
    "losses.ranking": (
        "bp_mll_loss",
        "lsep_loss",
    ),
    "losses.registry": (
        "LOSSES",
        "build_compute_loss_func",
        "build_loss",
    ),
    "losses.smoothing": ("smooth_targets",),
    "losses.zlpr": (
        "zlpr_divergence",
        "zlpr_loss",
        "zlpr_probabilities",
    ),
    "metrics.calibration": ("fit_temperature",),
    "metrics.multi_label": (
        "MultiLabelMetrics",
        "compute_decision_metrics",
        "compute_label_scores",
        "compute_multi_label_metrics",
    ),
    "metrics.risk_control": ("fit_guarantee",),
    "metrics.threshold_tuning": ("fit_thresholds",),
    "models.loading": ("load_model",),
    "models.tokenizer": ("load_tokenizer",),
    "reports.report": ("Report",),
    "thresholds": ("Thresholds",),
    "training.arguments": ("ZLPRTrainingArguments",),
    "training.trainer": ("ZLPRTrainer",),
    "workflows.data_arguments": ("DataArguments",),
    "workflows.estimator": ("ZLPRClassifier",),
    "workflows.finetune": ("finetune",),
    "workflows.model_arguments": ("ModelArguments",),
    "workflows.push": ("push_folder",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found without this function the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
