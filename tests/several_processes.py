"""Training runs to be compared between one process and two; a script for torchrun."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import BertForSequenceClassification, TrainerCallback

from tests.builders import tiny_config
from zlpr_hf import PowersetLoss, ZLPRTrainer, ZLPRTrainingArguments
from zlpr_hf.data.targets import padded_ids

LABELS = 5
EVALUATED = 11


@dataclass(frozen=True)
class Case:
    """A run; ``batch`` rows on all processes together, before accumulation."""

    rows: int
    batch: int = 8
    accumulation: int = 1
    sampling: str = "random"
    drop_last: bool = False
    kind: str = "zlpr"  # or powerset, large


CASES = {
    "even": Case(16),
    "uneven": Case(21),
    "a row for one process only": Case(17),
    "that in an accumulated step": Case(17, batch=4, accumulation=2),
    "that in a step by itself": Case(17, batch=8, accumulation=2),
    "fewer rows than a batch": Case(3),
    "grouped": Case(21, sampling="group_by_length"),
    "sequential": Case(13, sampling="sequential"),
    "without the last": Case(21, drop_last=True),
    "powerset": Case(21, kind="powerset"),
    "large": Case(17, kind="large"),
}


def make_rows(number: int, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 12, (number,), generator=generator).tolist()
    flags = torch.rand((number, LABELS), generator=generator) < 0.4
    return Dataset.from_dict(
        {
            "input_ids": [
                torch.randint(4, 22, (n,), generator=generator).tolist() for n in lengths
            ],
            "length": lengths,
            "flags": flags.float().tolist(),
        }
    )


def collate(kind: str, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["flags"] for row in rows])
    if kind == "large":
        labels = torch.from_numpy(padded_ids([row.nonzero().flatten().tolist() for row in labels]))
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


class Gradients(TrainerCallback):
    """Keeps the gradients of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        gradients = {name: value.grad for name, value in model.named_parameters()}
        self.steps.append({name: grad.clone() for name, grad in gradients.items()})


def make_trainer(case: Case, folder: Path, processes: int, **changes: Any) -> ZLPRTrainer:
    dropout = changes.pop("dropout", 0.0)
    train, evaluated = make_rows(case.rows, 0), make_rows(EVALUATED, 1)
    outputs, more = LABELS, {}
    if case.kind == "powerset":
        loss = PowersetLoss.fit(np.asarray(train["flags"][:]), reduction="none")
        outputs, more = len(loss.members), {"loss": loss}
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "output_dir": str(folder), "num_train_epochs": 2, "learning_rate": 1e-2, "optim": "sgd",
        "per_device_train_batch_size": case.batch // processes,
        "per_device_eval_batch_size": 4 // processes,
        "gradient_accumulation_steps": case.accumulation,
        "train_sampling_strategy": case.sampling, "dataloader_drop_last": case.drop_last,
        "lr_scheduler_type": "constant", "bf16": False, "disable_tqdm": True,
        "save_strategy": "no", "logging_strategy": "no", "remove_unused_columns": False,
        "large_label_space": case.kind == "large",
        "loss": "powerset" if case.kind == "powerset" else "zlpr",
    }  # fmt: skip
    return ZLPRTrainer(
        model=BertForSequenceClassification(
            tiny_config(
                num_labels=outputs, hidden_dropout_prob=dropout, attention_probs_dropout_prob=0.0
            )
        ),
        args=ZLPRTrainingArguments(**(settings | changes)),
        train_dataset=train,
        eval_dataset=evaluated,
        data_collator=lambda rows: collate(case.kind, rows),
        **more,
    )


def weights_of(trainer: ZLPRTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def run_case(case: Case, folder: Path, processes: int) -> dict[str, Any]:
    """Train and evaluate; everything that must not depend on the number of processes."""
    trainer, gradients = make_trainer(case, folder, processes), Gradients()
    trainer.add_callback(gradients)
    trained = trainer.train()
    metrics = {
        name: value
        for name, value in trainer.evaluate().items()
        if not name.endswith(("_runtime", "_per_second", "_time"))
    }
    return {
        "gradients": gradients.steps,
        "weights": weights_of(trainer),
        "metrics": metrics | {"train_loss": trained.training_loss},
        "predictions": trainer.predict(trainer.eval_dataset).predictions,
    }


def run_and_resume(sampling: str, folder: Path, processes: int) -> list[dict[str, torch.Tensor]]:
    """Weights of an undisturbed run, and of one that goes on in the middle of its second epoch."""
    found = []
    for checkpoint in (None, folder / "checkpoint-4"):
        trainer = make_trainer(
            Case(21, sampling=sampling), folder, processes,
            dropout=0.1, save_strategy="steps", save_steps=1,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        found.append(weights_of(trainer))
    return found


def main(folder: Path, device: str = "cpu") -> None:
    state = PartialState(cpu=device == "cpu")
    found: dict[str, Any] = {"backend": state.backend}
    found |= {
        name: run_case(case, folder / "run", state.num_processes) for name, case in CASES.items()
    }
    for sampling in ("random", "group_by_length"):
        path = folder / f"resumed-{sampling}"
        found[f"resumed {sampling}"] = run_and_resume(sampling, path, state.num_processes)
    torch.save(found, folder / f"process-{state.process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
