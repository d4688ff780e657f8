"""A training run on a tiny encoder: files, refused input, and resuming after a kill."""

import ast
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, pipeline

from tests.runs import check_refused, run
from train import main
from zlpr_hf import InputError, Thresholds
from zlpr_hf.cli.main import main as zlpr
from zlpr_hf.cli.terminal import EXAMPLE_TEXT, next_commands
from zlpr_hf.reports.report import MODEL_ROW, Report
from zlpr_hf.reports.verdict import SVM_ROW
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

REPOSITORY = Path(__file__).parents[2]


def test_run_writes_its_files_and_returns_its_report(finished: tuple[Path, Any]) -> None:
    folder, report = finished
    stored = json.loads((folder / "results.json").read_text())
    assert stored["test"][MODEL_ROW] == report.metrics
    assert Report.load(folder / "results.json") == report
    gain = report.metrics["f1_micro"] - report.test[SVM_ROW]["f1_micro"]
    assert report.differences["f1_micro"].difference == pytest.approx(gain)
    assert report.best_epoch in [each.epoch for each in report.history]
    assert all(each.f1 < 1 for each in report.weak_labels)
    assert set(report.test) == {"most frequent label set", "TF-IDF + linear SVM", MODEL_ROW}
    assert report.metrics["f1_micro"] > report.test["most frequent label set"]["f1_micro"]
    assert [score.label for score in report.label_scores] == ["blue", "green", "red"]
    assert stored["profile"] == json.loads((folder / "data_profile.json").read_text())
    assert stored["versions"]["torch"] == torch.__version__
    page = (folder / "report.html").read_text(encoding="utf-8")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"{report.metrics['f1_micro']:.3f}" in text for text in (page, card))
    assert (folder / "labels.svg").is_file()
    text = report.render()
    assert "TF-IDF + linear SVM" in text
    assert "trained" in text


def test_saved_configuration_runs_again(finished: tuple[Path, Any], tmp_path: Path) -> None:
    folder, report = finished
    again = run([str(folder / "train_config.yaml")], tmp_path / "again")
    assert again.metrics == report.metrics


def test_stock_transformers_decides_the_same(finished: tuple[Path, Any]) -> None:
    """The rule is in the weights: stock scores above 0.5 give the reported metrics."""
    folder, report = finished
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    stock = pipeline("text-classification", str(folder), top_k=None, truncation=True)
    texts = data.splits["test"]["text"][:]
    decided = [{item["label"] for item in row if item["score"] > 0.5} for row in stock(texts)]
    names = data.label_space.names
    truth = [{names[index] for index in ids} for ids in data.splits["test"]["label_ids"]]
    hits = sum(len(a & b) for a, b in zip(decided, truth, strict=True))
    f1 = 2 * hits / (sum(map(len, decided)) + sum(map(len, truth)))
    assert f1 == pytest.approx(report.metrics["f1_micro"], abs=1e-12)
    exact = sum(a == b for a, b in zip(decided, truth, strict=True)) / len(truth)
    assert exact == pytest.approx(report.metrics["subset_accuracy"], abs=1e-12)


@pytest.mark.slow
def test_printed_commands_and_the_code_of_the_card_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page and the push to the Hub have tests of their own."""
    assert main([*command, f"--output_dir={tmp_path / 'run'}"]) == 0
    capsys.readouterr()
    commands = [command for _, command in next_commands(str(tmp_path / "run"))]
    assert any(" demo " in line for line in commands)
    commands.append(f"{sys.executable} -m zlpr_hf.cli export {tmp_path / 'run'} --quantize int8")
    printed = {}
    for name in ("predict", "evaluate", "export"):
        line = next(line for line in commands if name in line).replace(EXAMPLE_TEXT, "red sky")
        if name == "predict":  # as it is printed; a process for each would only take time
            answer = subprocess.run(
                line, shell=True, capture_output=True, text=True, cwd=REPOSITORY
            )
            assert answer.returncode == 0, answer.stderr
            printed[name] = answer.stdout
        else:
            words = shlex.split(line)
            assert zlpr(words[words.index(name) :]) == 0
            printed[name] = capsys.readouterr().out
    labels = json.loads(printed["predict"])["predicted_labels"]
    card = (tmp_path / "run" / "README.md").read_text()
    codes = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(codes) == 2  # stock transformers, and the pipeline of the package
    for code in codes:
        argv = [sys.executable, "-c", code.replace("type a text here", "red sky")]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert [each["label"] for each in ast.literal_eval(done.stdout.strip())] == labels
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["test"][MODEL_ROW]
    assert f"{metrics['f1_micro']:.4f}" in printed["evaluate"]
    assert (tmp_path / "run-onnx-int8" / "model.onnx").is_file()


def test_second_run_keeps_the_trained_head(
    command: list[str], finished: tuple[Path, Any], tmp_path: Path
) -> None:
    more = [f"--model_name_or_path={finished[0]}", "--learning_rate=0", "--head_learning_rate=0"]
    again = run(command, tmp_path / "again", *more, "--num_train_epochs=1")
    assert again.metrics == pytest.approx(finished[1].metrics)  # the temperature is fitted again


def test_tuned_thresholds_are_folded_into_the_bias(command: list[str], tmp_path: Path) -> None:
    report = run(
        command, tmp_path / "tuned", "--tune_thresholds=global", "--threshold_metric=f1_micro"
    )
    assert report.thresholds.offsets
    assert "before tuning thresholds" in report.test
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert Thresholds.from_config(model.config) == Thresholds()
    plain = run(command, tmp_path / "plain")
    untuned = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain")
    assert report.temperature is not None
    assert plain.temperature is not None
    torch.testing.assert_close(
        plain.temperature * untuned.classifier.bias - report.temperature * model.classifier.bias,
        torch.tensor(report.thresholds.offsets),
    )
    before = report.test["before tuning thresholds"]
    assert {name for name in before if before[name] != plain.metrics[name]} == {"brier", "ece"}


# A run that ends itself in the middle of an epoch, after its first checkpoint.
CUT = """
import os, sys
from train import main
from zlpr_hf import ZLPRTrainer

step, count = ZLPRTrainer.training_step, 0


def training_step(*args, **kwargs):
    global count
    count += 1
    if count == 8:
        os.kill(os.getpid(), int(sys.argv[1]))
    return step(*args, **kwargs)


ZLPRTrainer.training_step = training_step
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_resumed_run_has_identical_weights(
    how: signal.Signals, command: list[str], finished: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    process = subprocess.run(
        [sys.executable, "-c", CUT, str(int(how)), *command, f"--output_dir={folder}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
        # Sums are formed in another order with another number of threads.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip
    errors = process.stderr
    assert (folder / "checkpoint-5").is_dir(), errors
    assert not (folder / "results.json").exists(), "the run was not cut"
    if how is signal.SIGINT:
        assert process.returncode == 130
        (line,) = [line for line in errors.splitlines() if line.startswith("interrupted")]
        assert str(folder / "checkpoint-5") in line
        assert "--resume_from_checkpoint true" in line
    report = run(command, folder, "--resume_from_checkpoint=true")
    whole = finished[1]
    assert report.training["resumed_from"].startswith("checkpoint-")
    assert report.metrics == whole.metrics
    weights = [load_file(place / "model.safetensors") for place in (folder, finished[0])]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_half_written_checkpoint_is_skipped(
    command: list[str], finished: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    (folder / "checkpoint-999").mkdir(parents=True)
    (folder / "checkpoint-999" / "trainer_state.json").write_text('{"global_st')
    report = run(command, folder, "--resume_from_checkpoint=true")
    assert report.training["resumed_from"] is None
    assert report.metrics == finished[1].metrics


def test_folder_with_a_run_is_refused(command: list[str], finished: tuple[Path, Any]) -> None:
    with pytest.raises(InputError, match="already holds a run .*--resume_from_checkpoint true"):
        run(command, finished[0])
    with pytest.raises(InputError, match=r"none: not a whole checkpoint"):
        run(command, finished[0], "--resume_from_checkpoint=none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset_nam", "cwe"], 'Did you mean "dataset_name"?'),
        (["--learning_rate", "fast"], "got 'fast'"),
        (["--loss", "zplr"], "got 'zplr'"),
        (["--dropout=1"], "dropout: expected 0 to below 1, got 1"),
        (["--learning_rate", "nan"], "got 'nan'"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size: expected"),
        (["--metric_for_best_model", "f1_mikro"], 'Did you mean "f1_mi'),
        (["--report_to", "nosuch"], "nosuch is not supported"),
        (["--model_name_or_path", "package:none.sub/x"], "none.sub is not installed"),
        (["--pooling", "max"], "pooling: invalid choice: 'max'"),
        (["--tune_thresholds", "per_label", "--threshold_metric", "f1_samples"],
         "threshold_metric: expected one of f1_micro, f1_macro"),
        (["--text_column", "body"], "no column 'body' for the text; the columns are text"),
        (["--label_column", "tags"], "no column 'tags' for the labels; the columns are text"),
        (["--label_descriptions_file", "none.yaml"], "none.yaml: no such file; expected 'label:"),
        (["--max_length", "1000"], "max_length: expected 3 to 64"),
        (["--test_size", "2"], "between 0 and 1, got 2"),
        (["--model_name_or_path", "./none"], "./none: no such folder"),
        (["--dataset_name", "cwe"], "--train_file FILE or --dataset_name NAME"),
    ],
)  # fmt: skip
def test_invalid_argument_is_one_line_and_writes_nothing(
    options: list[str],
    message: str,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_refused([*command, *options], tmp_path / "out", message, capsys)
