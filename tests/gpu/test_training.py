"""Training on the device: precisions, torch.compile, 4 bits, memory, one process of several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

from tests.builders import tiny_config
from tests.device import DEVICE, ON_CPU, peak_mib, requires_cuda
from tests.runs import TORCHRUN, launch, run
from tests.several_processes import CASES, run_case
from tests.training.builders import arguments, model, rows
from zlpr_hf import Classifier, ZLPRTrainer
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

pytestmark = pytest.mark.gpu
Record = Callable[[str, object], None]
MODES = {
    "float32": ["--bf16=false"],
    "bfloat16": ["--bf16=true"],
    "float16": ["--bf16=false", "--fp16=true"],
    "compiled": ["--bf16=false", "--torch_compile=true"],
    "compiled, bfloat16": ["--bf16=true", "--torch_compile=true"],
}


@pytest.mark.parametrize("mode", MODES)
def test_saved_model_decides_as_the_report_says(
    mode: str, command: list[str], tmp_path: Path
) -> None:
    report = run(command, tmp_path / "out", *MODES[mode])
    assert report.metrics["f1_micro"] > 0.7  # compiled dropout draws other masks
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.model.device.type == DEVICE
    data = load_data(parse_arguments([str(tmp_path / "out" / "train_config.yaml")]).data)
    texts, truth = data.texts("test"), data.targets("test") > 0.5
    for precision in ("float32", "bfloat16"):
        logits = classifier.compute_logits(texts, long_texts="cut", precision=precision)
        exact = ((logits > 0) == truth).all(1).mean()
        assert exact == pytest.approx(report.metrics["subset_accuracy"]), precision


def test_step_of_float16_that_overflows_is_skipped(tmp_path: Path) -> None:
    """The scaler starts far too high; training goes on once it has fallen."""
    trainer = ZLPRTrainer(
        model=model(), args=arguments(tmp_path, fp16=True, max_steps=40), train_dataset=rows()
    )
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.accelerator.scaler = scaler = torch.amp.GradScaler(DEVICE, init_scale=2.0**40)
    trainer.accelerator.native_amp = True  # a CPU has it off
    trainer.train()
    assert 1 <= scaler.get_scale() < 2.0**40
    after = trainer.model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert not torch.equal(after["classifier.weight"], before["classifier.weight"])


def test_evaluation_does_not_hold_all_logits(tmp_path: Path, record_property: Record) -> None:
    count, labels = 512, 100_000
    content = {"input_ids": [[5, 6, 7]] * count, "labels": [[i, i + 1] for i in range(count)]}
    trainer = ZLPRTrainer(
        model=BertForSequenceClassification(tiny_config(num_labels=labels)),
        args=arguments(tmp_path, large_label_space=True),
        eval_dataset=Dataset.from_dict(content),
    )
    trainer.evaluate()  # buffers of matrix products stay
    peak = peak_mib(trainer.evaluate)
    record_property("peak_mib", peak)
    assert peak < count * labels * 4 / 2**20 / 4


def test_one_process_of_several_is_one_process(tmp_path: Path) -> None:
    """DDP over NCCL (gloo on a CPU)."""
    one = [TORCHRUN, "--nproc_per_node=1"]
    started = launch(*one, "-m", "tests.several_processes", str(tmp_path), DEVICE)
    assert started.returncode == 0, started.stderr
    found: dict[str, Any] = torch.load(
        tmp_path / "process-0.pt", weights_only=False, map_location="cpu"
    )
    assert found["backend"] == ("gloo" if ON_CPU else "nccl")
    for name, case in CASES.items():
        alone: Any = run_case(case, tmp_path / name, 1)
        torch.testing.assert_close(
            found[name], alone, atol=1e-5, rtol=1e-4, equal_nan=True, check_device=False,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


@requires_cuda
def test_fsdp_trains_and_saves_what_one_process_does(command: list[str], tmp_path: Path) -> None:
    more = ["--dropout=0", "--num_train_epochs=2", "--optim=sgd", "--weight_averaging=none"]
    started = launch(
        "accelerate.commands.launch", "--config_file", "configs/accelerate/fsdp.yaml",
        "--num_processes", "1", "train.py", *command, *more, f"--output_dir={tmp_path / 'fsdp'}",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    run(command, tmp_path / "alone", *more)
    fsdp, alone = (tmp_path / name for name in ("fsdp", "alone"))
    weights = [load_file(folder / "model.safetensors") for folder in (fsdp, alone)]
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-3)
    tests = [json.loads((folder / "results.json").read_text())["test"] for folder in (fsdp, alone)]
    for name, row in tests[1].items():
        assert tests[0][name] == pytest.approx(row, rel=1e-2, nan_ok=True), name
