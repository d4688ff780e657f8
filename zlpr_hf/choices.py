"""Options: accepted values and their help; imports nothing slow, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Literal, get_args

Backend = Literal["auto", "torch", "onnxruntime"]
DecisionMetric = Literal["f1_micro", "f1_macro", "f1_samples", "jaccard_samples", "subset_accuracy"]
GuaranteeKind = Literal["recall", "false_labels", "precision"]
HeadInit = Literal["auto", "random", "label_names"]
LabelForm = Literal["auto", "names", "ids", "multi_hot", "columns", "delimited"]
LongTexts = Literal["cut", "mean", "max"]
LongTextsOption = Literal["auto", "cut", "mean", "max"]
MissingLabels = Literal["auto", "unjudged", "no_label"]
MissingWords = Literal["ask", "label", "missing"]
PeftSave = Literal["merged", "adapter"]
Pooling = Literal["auto", "first", "mean"]
Precision = Literal["float32", "bfloat16"]
Quantization = Literal["none", "int8"]
QueryStrategy = Literal[
    "random",
    "margin",
    "mean_margin",
    "cardinality",
    "margin_cardinality",
    "diversity",
    "gradient",
    "rare_labels",
    "rare_gradient",
]
Quoting = Literal["auto", "csv", "backslash", "none"]
Scope = Literal["global", "per_label"]
ThresholdTuning = Literal["auto", "none", "rare_labels", "shrunk", "global", "per_label"]
UnseenLabels = Literal["error", "drop"]

DOUBTFUL_PROBABILITY = 0.2
"""An audit lists and masks cells that are wrong with a higher probability, unless told otherwise.

Lower than one half, since a wrong cell that stays costs macro-F1 more than a right one that goes.
"""
FALSE_WORDS = ("false", "f", "no", "n", "0")
"""How the parser of transformers spells false, in lower case."""
DECISION_METRICS = get_args(DecisionMetric)
"""Metrics that one offset for all labels can maximise."""
LABEL_METRICS = ("f1_micro", "f1_macro")
"""Metrics that one offset per label can maximise."""


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, for ``typing.Annotated``; ``below`` is excluded."""

    low: float
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value < self.below

    def __str__(self) -> str:
        more = "or more" if self.below == math.inf else f"to below {self.below:g}"
        return f"{self.low:g} {more}"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds the default to each help text that does not mention it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        is_flag = action.nargs == 0
        no_default = is_flag or action.default in (None, "", [], {}, argparse.SUPPRESS)
        return text if no_default or "default" in text else f"{text} (default: %(default)s)"
