"""Tiny models, ten rows, arguments for the trainer, and a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertForSequenceClassification

from tests.builders import tiny_config
from zlpr_hf import ZLPRTrainer, ZLPRTrainingArguments

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


def noisy_batch(
    folder: Path, **options: Any
) -> tuple[ZLPRTrainer, BertForSequenceClassification, dict[str, Tensor]]:
    """Return a trainer of a model with dropout, in training mode, and a batch of all rows."""
    torch.manual_seed(0)
    noisy = BertForSequenceClassification(tiny_config(num_labels=3))
    trainer = ZLPRTrainer(model=noisy, args=arguments(folder, **options), eval_dataset=rows())
    noisy.train()
    data = rows().with_format("torch")[:]
    return trainer, noisy, {"input_ids": data["input_ids"], "labels": data["labels"]}


class Shifted(BertForSequenceClassification):
    """A model with an input per label, which may have as many entries as the batch has rows."""

    def forward(self, input_ids: Tensor, offsets: Tensor, **kwargs: Any) -> Any:
        outputs = super().forward(input_ids, **kwargs)
        outputs.logits = outputs.logits + offsets
        return outputs


def collate_shifted(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    batch = {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "labels")}
    return batch | {"offsets": torch.tensor([1.0, 2.0, 3.0])}


def shifted_model(**changes: Any) -> Shifted:
    torch.manual_seed(0)
    return Shifted(tiny_config(num_labels=3, **changes))


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


def save_checkpoint(folder: Path, *, whole: bool = True, labels: str = "ab") -> Path:
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    config = {"id2label": {str(i): name for i, name in enumerate(labels)}, "num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trainer_state.json").write_text("{}" if whole else '{"st')
    return folder
