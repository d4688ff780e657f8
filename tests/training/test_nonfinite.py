"""Numbers that stop being finite stop the training, with the step, the rows and the remedy."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import nn

from tests.training.builders import (
    ROWS,
    arguments,
    collate_shifted,
    model,
    rows,
    shifted_model,
)
from zlpr_hf import ZLPRLoss, ZLPRTrainer
from zlpr_hf.cli.main import main
from zlpr_hf.training.nonfinite import NonFiniteStep, merge_nonfinite_steps
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

MARK = 0.25
"""A target that marks a row."""


def marked(*numbers: int) -> Dataset:
    """Rows of which some, counted from 1, carry the mark; of different lengths."""
    labels = rows()["labels"][:]
    for number in numbers:
        labels[number - 1][0] = MARK
    lengths = [3 + index * 7 % 5 for index in range(ROWS)]
    return rows().remove_columns("labels").add_column("labels", labels).add_column(
        "length", lengths
    )  # fmt: skip


class Marked(nn.Module):
    """ZLPR that is NaN on marked rows; with ``gradient`` its gradients alone are."""

    def __init__(self, gradient: bool = False) -> None:
        super().__init__()
        self.gradient = gradient

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = ZLPRLoss(reduction="none")(logits, targets)
        mark, zero = (targets == MARK).any(1), 0 * logits.sum(1)
        # The square root of 0 has no derivative; that of log(-1), which is NaN, is finite.
        wrong = zero.sqrt() if self.gradient else (zero - 1).log()
        return torch.where(mark, wrong, loss)


class Square(nn.Module):
    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((logits - targets) ** 2).sum(1)


def message(trainer: ZLPRTrainer) -> str:
    """The error of a run; the step that failed has changed no weight."""
    with pytest.raises(FloatingPointError) as failed:
        trainer.train()
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())
    assert "\n" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("strategy", ["sequential", "random", "group_by_length"])
@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (2, 2)])
def test_the_rows_at_fault_are_named(
    tmp_path: Path, strategy: str, batch: int, accumulation: int
) -> None:
    args = arguments(
        tmp_path, train_sampling_strategy=strategy, per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation, seed=3,
    )  # fmt: skip
    start = model()
    trainer = ZLPRTrainer(model=start, args=args, train_dataset=marked(4), loss=Marked())
    found = message(trainer)
    assert "NaN or infinity in its loss (training rows 4);" in found
    assert f"stopped at step {trainer.state.global_step + 1}:" in found
    if trainer.state.global_step == 0:
        for name, value in model().state_dict().items():
            assert torch.equal(start.state_dict()[name], value)


def test_inputs_that_are_not_per_row_are_left_whole(tmp_path: Path) -> None:
    """Batches have three rows, as many as the offsets have labels."""
    trainer = ZLPRTrainer(
        model=shifted_model(), args=arguments(tmp_path, per_device_train_batch_size=3),
        train_dataset=marked(5), loss=Marked(), data_collator=collate_shifted,
    )  # fmt: skip
    assert "in its loss (training rows 5);" in message(trainer)


def test_rows_of_a_plain_list_may_hold_inputs_of_their_own(tmp_path: Path) -> None:
    """Without column names, the first row tells which tensors have one entry per row."""
    listed = [{**row, "offsets": [0.0, 0.0, 0.0]} for row in marked(4)]
    trainer = ZLPRTrainer(
        model=shifted_model(), args=arguments(tmp_path), train_dataset=listed, loss=Marked()
    )
    assert "in its loss (training rows 4);" in message(trainer)
    doubled = ZLPRTrainer(
        model=shifted_model(), args=arguments(tmp_path, rdrop_alpha=1.0),
        train_dataset=[{**row, "offsets": [0.0, 0.0, 0.0]} for row in rows()],
    )  # fmt: skip
    assert doubled.train().global_step == 4


def test_a_later_epoch_and_a_resumed_run_name_the_same_rows(tmp_path: Path) -> None:
    class Late(Marked):
        calls = 0

        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            if self.training and torch.is_grad_enabled():
                self.calls += 1
            return super().forward(logits, targets if self.calls > 13 else targets * 0)

    options = {
        "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 6,
        "train_sampling_strategy": "random", "num_train_epochs": 4,
    }  # fmt: skip
    data = marked(*range(1, ROWS + 1))
    first = ZLPRTrainer(
        model=model(), args=arguments(tmp_path, **options), train_dataset=data, loss=Late()
    )
    found = message(first)
    assert "stopped at step 14:" in found
    again = Late()
    again.calls = 12
    resumed = ZLPRTrainer(
        model=model(), args=arguments(tmp_path, **options), train_dataset=data, loss=again
    )
    with pytest.raises(FloatingPointError) as failed:
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-12"))
    assert str(failed.value) == found


@pytest.mark.parametrize("cause", ["weights", "labels", "teacher_logits", "logits", "gradient"])
def test_the_cause_is_named(tmp_path: Path, cause: str) -> None:
    start, data, loss = model(), marked(2), None
    expected = "2"
    if cause == "weights":
        with torch.no_grad():
            start.classifier.bias[0] = torch.nan
        expected = "1, 2, 3, 4, 5, 6, 7, 8"
    if cause == "labels":  # the losses here refuse them, those of users may not
        loss = Square()
        labels = data["labels"][:]
        labels[1][1] = float("inf")
        data = data.remove_columns("labels").add_column("labels", labels)
    if cause == "teacher_logits":
        teacher = torch.zeros(ROWS, 3)
        teacher[1, 2] = torch.nan
        data = data.add_column("teacher_logits", teacher.tolist())
    if cause == "logits":
        ids = data["input_ids"][:]
        ids = [[each if each != 4 else 5 for each in row] for row in ids]
        ids[1][0] = 4
        data = data.remove_columns("input_ids").add_column("input_ids", ids)
        with torch.no_grad():
            start.bert.embeddings.word_embeddings.weight[4] = 3e38
    if cause == "gradient":
        loss, expected = Marked(gradient=True), "1, 2, 3, 4, 5, 6, 7, 8"
    trainer = ZLPRTrainer(model=start, args=arguments(tmp_path), train_dataset=data, loss=loss)
    with pytest.raises(FloatingPointError) as failed:
        trainer.train()
    assert f"at step 1: NaN or infinity in its {cause} (training rows {expected});" in str(
        failed.value
    )


class Turning(torch.utils.data.Sampler[int]):
    """Begins one row later every time it is asked."""

    start = 0

    def __iter__(self) -> Iterator[int]:
        self.start += 1
        return iter([(index + self.start) % ROWS for index in range(ROWS)])

    def __len__(self) -> int:
        return ROWS


def test_an_order_that_is_drawn_again_names_no_rows(tmp_path: Path) -> None:
    class Anew(ZLPRTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return Turning()

    trainer = Anew(model=model(), args=arguments(tmp_path), train_dataset=marked(4), loss=Marked())
    assert "(training rows unknown: " in message(trainer)


def test_float16_overflows_are_left_to_its_scaler(tmp_path: Path) -> None:
    """The scaler skips such a step and scales less, until there is nothing left to take away."""
    trainer = ZLPRTrainer(model=model(), args=arguments(tmp_path), train_dataset=marked())
    trainer.train()
    infinite = torch.tensor(torch.inf)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    trainer.accelerator.scaler = SimpleNamespace(get_scale=lambda: 2.0)
    assert trainer._get_grad_norm(trainer.model, infinite) == infinite
    trainer.accelerator.scaler = SimpleNamespace(get_scale=lambda: 0.5)
    with pytest.raises(FloatingPointError, match="in its gradient"):
        trainer._get_grad_norm(trainer.model, infinite)


def test_findings_of_several_processes_are_merged() -> None:
    found = [
        NonFiniteStep(3, "loss", (1, 9)),
        NonFiniteStep(3, "gradient", (2,)),
        NonFiniteStep(3, "loss", (4,)),
    ]
    assert merge_nonfinite_steps(found) == NonFiniteStep(3, "loss", (1, 4, 9))


@pytest.mark.slow
def test_train_ends_with_one_line_and_the_last_checkpoint(
    command: list[str],
    encoder_dir: Path,
    colour_rows: list[dict[str, object]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The row is that of the file, though a part of the file was split off."""
    poisoned = tmp_path / "encoder"
    poisoned.mkdir()
    for path in encoder_dir.iterdir():
        (poisoned / path.name).write_bytes(path.read_bytes())
    weights = load_file(poisoned / "model.safetensors")
    vocabulary = json.loads((poisoned / "tokenizer.json").read_text())["model"]["vocab"]
    weights["embeddings.word_embeddings.weight"][vocabulary["fish"]] = 3e38
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    plain = load_data(parse_arguments([*command, "--output_dir=none"]).data)
    number = plain.splits["train"]["row"][-1]
    assert number > len(plain.splits["train"])
    texts = [str(row["text"]).replace("fish", "bird") for row in colour_rows]
    texts[number - 1] += " fish"
    rows = zip(colour_rows, texts, strict=True)
    lines = [json.dumps({**row, "text": text}) for row, text in rows]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(lines))
    folder = tmp_path / "run"
    argv = [
        "train", *command, f"--model_name_or_path={poisoned}", f"--train_file={data}",
        "--pooling=first", "--head_init=random", f"--output_dir={folder}", "--save_steps=1",
    ]  # fmt: skip
    assert main(argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"in its logits (training rows {number}); lower learning_rate" in line
    assert not (folder / "model.safetensors").exists()
    kept = sorted(folder.glob("checkpoint-*"))
    if kept:
        assert f"{max(kept, key=lambda path: int(path.name[11:]))} stays:" in line
    else:
        assert "There is no checkpoint yet" in line
