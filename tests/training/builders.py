"""A tiny model, ten rows and arguments for the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import BertForSequenceClassification

from tests.builders import tiny_config
from zlpr_hf import ZLPRTrainingArguments

ROWS = 10  # not a multiple of 8: the last optimizer step is uneven


def rows(kind: str = "float") -> Dataset:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 22, (ROWS, 6), generator=generator)
    flags = torch.rand((ROWS, 3), generator=generator) < 0.4
    labels = {"float": flags.float(), "int": flags.long(), "bool": flags}[kind]
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})


def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(tiny_config(num_labels=3, **quiet))


def arguments(folder: Path, **changes: Any) -> ZLPRTrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "bf16": False,
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
    }
    return ZLPRTrainingArguments(**(settings | changes))
