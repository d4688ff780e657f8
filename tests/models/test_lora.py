"""LoRA: few weights are trained, labels stay, merged weights and adapter decide alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests.runs import check_refused, run
from zlpr_hf import InputError, LabelSpace, load_model
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.models.lora import add_lora, merge_lora
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data

pytest.importorskip("peft", reason="peft is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

LORA = ["--use_peft=true", "--pooling=first", "--num_train_epochs=4", "--learning_rate=2e-2"]


def test_only_adapters_and_head_are_trained(encoder_dir: Path, colours: LabelSpace) -> None:
    model = load_model(str(encoder_dir), colours)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = add_lora(model, name="some/encoder", rank=2)
    trained = [name for name, value in wrapped.named_parameters() if value.requires_grad]
    assert trained
    assert all("lora_" in name or "classifier" in name for name in trained)
    merged = merge_lora(wrapped)  # untrained adapters change nothing
    for name, value in merged.state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_saved_run_keeps_labels_and_decisions(
    form: str, command: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / form
    report = run(command, folder, *LORA, f"--peft_save={form}")
    classifier = Classifier.load(str(folder))
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    assert classifier.label_space == data.label_space
    decided = classifier.decide(classifier.compute_logits(data.texts("test"), long_texts="cut"))
    exact = (decided == (data.targets("test") > 0.5)).all(1).mean()
    assert exact == pytest.approx(report.metrics["subset_accuracy"])
    if form == "merged":
        AutoModelForSequenceClassification.from_pretrained(folder)
        assert not (folder / "adapter_config.json").exists()
        return
    adapter = json.loads((folder / "adapter_config.json").read_text())
    whole = sum(value.nbytes for value in classifier.model.state_dict().values())  # type: ignore[union-attr]
    assert (
        sum(value.nbytes for value in load_file(folder / "adapter_model.safetensors").values())
        < whole / 2
    )
    assert adapter["base_model_name_or_path"] in " ".join(command)
    with pytest.raises(InputError, match="is an adapter itself"):
        run(command, tmp_path / "again", *LORA, "--peft_save=adapter", f"--model={folder}")
    for checkpoint in folder.glob("checkpoint-*"):
        assert json.loads((checkpoint / "config.json").read_text())["label2id"]["red"] == 2


def test_tuned_offsets_are_folded_into_the_head_of_the_adapter(
    command: list[str], tmp_path: Path
) -> None:
    more = ["--peft_save=adapter", "--tune_thresholds=global", "--threshold_metric=f1_micro"]
    report = run(command, tmp_path / "tuned", *LORA, *more)
    plain = run(command, tmp_path / "plain", *LORA, "--peft_save=adapter", "--tune_thresholds=none")
    texts = [("red sky",), ("the blue sea",)]
    logits = [
        each.temperature * Classifier.load(str(tmp_path / name)).compute_logits(texts)
        for name, each in (("tuned", report), ("plain", plain))
    ]
    assert any(report.thresholds.offsets)
    np.testing.assert_allclose(
        logits[0], logits[1] - np.array(report.thresholds.offsets), atol=1e-5
    )
    before = report.test["before tuning thresholds"]
    assert {name for name in before if before[name] != plain.metrics[name]} == {"brier", "ece"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peft_save=whole"], "peft_save: invalid choice: 'whole'"),
        (["--lora_rank=0"], "lora_rank: expected 1 or more, got 0"),
        (["--lora_dropout=1"], "lora_dropout: expected 0 to below 1"),
        (["--lora_target_modules", "nothing"], "LoRA: No modules were targeted"),
        (
            ["--peft_save=adapter", "--pooling=mean"],
            "pooling mean adds to bert",
        ),
    ],
)
def test_wrong_options_are_refused(
    options: list[str],
    message: str,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_refused([*command, *LORA, *options], tmp_path / "out", message, capsys)


def test_resumed_run_with_adapters_has_identical_metrics(
    command: list[str], tmp_path: Path
) -> None:
    whole = run(command, tmp_path / "whole", *LORA)
    last = sorted((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    more = [f"--resume_from_checkpoint={last[0]}", "--overwrite_output_dir=true"]
    again = run(command, tmp_path / "again", *LORA, *more)
    assert again.training["resumed_from"] == last[0].name
    assert again.metrics == whole.metrics


def test_adapter_of_a_local_encoder_is_reported(
    command: list[str], encoder_dir: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    options = [*command, *LORA, "--peft_save=adapter", "--max_steps=1"]
    config = parse_arguments([*options, f"--output_dir={tmp_path / 'out'}"])
    finetune_config(config, log=lines.append)
    assert [line for line in lines if "peft_save merged" in line and str(encoder_dir) in line]
