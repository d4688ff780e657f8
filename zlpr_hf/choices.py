"""What options can be set to; light to import, so that a command knows it before anything heavy."""

from __future__ import annotations

from typing import Literal

Backend = Literal["auto", "torch", "onnxruntime"]
LabelForm = Literal["auto", "names", "ids", "multi_hot", "columns", "delimited"]
LongTexts = Literal["max", "mean", "cut"]
Pooling = Literal["auto", "first", "mean"]
Precision = Literal["float32", "bfloat16"]
Quantization = Literal["none", "int8"]
Scope = Literal["global", "per_label"]

DECISION_METRICS = ("f1_micro", "f1_macro", "f1_samples", "jaccard_samples", "subset_accuracy")
LABEL_METRICS = ("f1_micro", "f1_macro")
"""What one offset for all labels can maximise, and what one a label can."""
