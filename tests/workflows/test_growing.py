"""Growing: a run that starts from a trained model keeps its labels, renames and adds others."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.runs import FAST, check_refused, run
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.build_model import build_model
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.prepare import prepare

RENAMED = {"red": "crimson", "green": "green"}
"""The labels that stay; a text that names the dog has the new label animal."""


@pytest.fixture(scope="module")
def trained(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "old"
    run(command, folder, "--baselines=false", "--tune_thresholds=per_label")
    return folder


@pytest.fixture
def grown(colour_rows: list[dict[str, object]], tmp_path: Path, trained: Path) -> list[str]:
    file = tmp_path / "grown.jsonl"
    lines = []
    for row in colour_rows:
        text = str(row["text"])
        labels = [name for old, name in RENAMED.items() if old in text.split()]
        lines.append({"text": text, "labels": labels + ["animal"] * ("dog" in text)})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [f"--model_name_or_path={trained}", f"--train_file={file}", *FAST, "--pooling=auto"]


def test_run_says_which_labels_it_keeps(grown: list[str], trained: Path, tmp_path: Path) -> None:
    config = parse_arguments(
        [*grown, "--rename_labels", "red=crimson", f"--output_dir={tmp_path / 'new'}",
         "--baselines=false", "--num_train_epochs=1"]
    )  # fmt: skip
    prepared = prepare(config)
    model = build_model(prepared, prepared.config.model)
    old = load_file(trained / "model.safetensors")
    assert prepared.data.label_space.names == ("animal", "crimson", "green")
    assert json.loads((trained / "config.json").read_text())["id2label"] == {
        "0": "blue", "1": "green", "2": "red",
    }  # fmt: skip
    assert torch.equal(model.classifier.weight[[2, 1]], old["classifier.weight"][[1, 2]])
    assert torch.equal(model.classifier.bias[[2, 1]], old["classifier.bias"][[1, 2]])
    lines: list[str] = []
    finetune_config(config, log=lines.append)
    (line,) = [line for line in lines if line.startswith("labels: ")]
    assert line == (
        "labels: 1 kept, 1 renamed (red to crimson), 1 new (animal), 1 dropped (blue); "
        "new ones start from their names"
    )
    assert "rename_labels:\n- red=crimson" in (tmp_path / "new" / "train_config.yaml").read_text()


@pytest.mark.parametrize("head_init", ["random", "label_names"])
def test_trained_rows_stay_with_every_head_init(
    head_init: str, command: list[str], trained: Path, tmp_path: Path
) -> None:
    argv = [*command, f"--model_name_or_path={trained}", f"--head_init={head_init}"]
    prepared = prepare(parse_arguments([*argv, f"--output_dir={tmp_path}"]))
    model = build_model(prepared, prepared.config.model)
    old = load_file(trained / "model.safetensors")
    assert torch.equal(model.classifier.weight, old["classifier.weight"])


def test_wrong_renames_write_nothing(
    grown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rename in ("read=crimson", "red=crimsn", "red"):
        argv = [*grown, "--rename_labels", rename]
        check_refused(argv, tmp_path / "new", "rename_labels: ", capsys)
