"""A model whose logits are NaN is refused in one line by everything that decides or measures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.training.builders import arguments, model, rows
from zlpr_hf import (
    InputError,
    LabelSpace,
    Thresholds,
    ZLPRTrainer,
    compute_multi_label_metrics,
    fit_thresholds,
    load_pipeline,
)
from zlpr_hf.cli.main import main
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_session import ONNX_FILE
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.top_k import TopK, compute_top_k_metrics, fit_top_k_offset
from zlpr_hf.thresholds import decide
from zlpr_hf.training.distillation import Teacher

NAN = np.array([[0.5, np.nan, -1.0]], np.float32)
TARGETS = np.array([[1.0, 0.0, 1.0]], np.float32)


def change_weights(folder: Path, change: Any) -> None:
    changed = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        change(changed)
    changed.save_pretrained(folder)


@pytest.fixture
def folder(finished: tuple[Path, Any], tmp_path: Path) -> Path:
    """A trained model that is broken for texts with the word "red" and whole for all others."""
    copy = tmp_path / "model"
    shutil.copytree(finished[0], copy, ignore=shutil.ignore_patterns("checkpoint-*"))
    red = AutoTokenizer.from_pretrained(copy).convert_tokens_to_ids("red")

    def forget_red(changed: Any) -> None:
        changed.get_input_embeddings().weight[red] = torch.nan

    change_weights(copy, forget_red)
    return copy


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("long_texts", ["max", "mean", "cut"])
def test_classifier_refuses_texts_with_nan_logits(
    folder: Path, finished: tuple[Path, Any], precision: Any, long_texts: Any
) -> None:
    classifier = Classifier.load(folder)
    with pytest.raises(InputError, match=r"NaN for 1 of 2 rows \(first 'a red dog'\)"):
        classifier.compute_logits(
            ["the sea", "a red dog"], precision=precision, long_texts=long_texts
        )
    whole = Classifier.load(finished[0])
    np.testing.assert_array_equal(
        classifier.compute_logits(["the sea"]), whole.compute_logits(["the sea"])
    )


@pytest.mark.parametrize("options", [[], ["--min_labels", "1"], ["--precision", "bfloat16"]])
def test_predict_and_evaluate_end_in_one_line(
    folder: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = tmp_path / "rows.jsonl", tmp_path / "labelled.jsonl"
    data.write_text(json.dumps({"text": "a red dog", "labels": ["red"]}) + "\n")
    command = ["predict", str(folder), "--input", str(data), "--output", str(output), *options]
    assert main(command) == 2
    assert not output.exists()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "NaN" in error
    assert "a red dog" in error
    if not options:
        assert main(["evaluate", str(folder), "--dataset", str(data)]) == 2
        assert "NaN" in capsys.readouterr().err.strip().splitlines()[-1]


def test_pipeline_refuses_nan_logits(folder: Path) -> None:
    classify = load_pipeline(folder, min_labels=1)
    assert classify("the sea")
    with pytest.raises(InputError, match="NaN"):
        classify("a red dog")
    with pytest.raises(InputError, match="NaN"):
        list(classify(iter(["a red dog"])))


def test_onnx_model_with_nan_logits_is_refused(finished: tuple[Path, Any], tmp_path: Path) -> None:
    output = tmp_path / "exported"
    assert main(["export", str(finished[0]), "--output", str(output)]) == 0
    stored = onnx.load(output / ONNX_FILE)
    (bias,) = (each for each in stored.graph.initializer if each.name.endswith("classifier.bias"))
    bias.CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), bias.name))
    onnx.save(stored, output / ONNX_FILE)
    with pytest.raises(InputError, match="NaN"):
        Classifier.load(output).compute_logits(["the sea"])


def test_model_that_is_nan_is_not_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_weights(folder, lambda changed: changed.classifier.bias.fill_(torch.nan))
    assert main(["export", str(folder), "--output", str(tmp_path / "exported")]) == 2
    assert "NaN" in capsys.readouterr().err


def test_bfloat16_that_overflows_is_computed_again(finished: tuple[Path, Any]) -> None:
    classifier = Classifier.load(finished[0])
    with torch.no_grad():
        classifier.model.classifier.bias[0] = 3.4e38  # type: ignore[union-attr]
    low = classifier.compute_logits(["the sea"], precision="bfloat16")
    np.testing.assert_array_equal(low, classifier.compute_logits(["the sea"]))


@pytest.mark.parametrize(
    "use",
    [
        lambda: decide(NAN),
        lambda: Thresholds((1.0, 1.0, 1.0), 1, 2).apply(NAN),
        lambda: compute_multi_label_metrics(NAN, TARGETS),
        lambda: compute_multi_label_metrics(NAN, TARGETS, predictions=TARGETS > 0),
        lambda: compute_intervals(NAN, TARGETS, predictions=TARGETS > 0, resamples=5),
        lambda: fit_thresholds(NAN, TARGETS, scope="per_label"),
        lambda: compute_top_k_metrics(TopK(NAN, np.array([[0, 1, 2]]), 9), np.array([[0]])),
        lambda: fit_top_k_offset(
            TopK(NAN, np.array([[0, 1, 2]]), 9), np.array([[0]]), metric="f1_micro"
        ),
    ],
)
def test_decisions_and_metrics_refuse_nan_logits(use: Any) -> None:
    with pytest.raises(InputError, match="NaN for 1 of 1 rows"):
        use()


def test_infinite_logits_are_decided() -> None:
    assert decide(np.array([[np.inf, -np.inf, 0.0]])).tolist() == [[True, False, False]]


@pytest.mark.parametrize("large", [False, True])
def test_trainer_refuses_to_evaluate_nan_logits(tmp_path: Path, large: bool) -> None:
    broken = model()
    with torch.no_grad():
        broken.classifier.bias[0] = torch.nan
    data = rows()
    if large:
        ids = [{**row, "labels": [0, 1]} for row in data]
        trainer = ZLPRTrainer(broken, arguments(tmp_path, large_label_space=True), eval_dataset=ids)
    else:
        trainer = ZLPRTrainer(broken, arguments(tmp_path), eval_dataset=data)
    with pytest.raises(InputError, match="NaN"):
        trainer.evaluate()


def test_teacher_with_nan_logits_is_refused(folder: Path, tmp_path: Path) -> None:
    names = Classifier.load(folder).label_space.names
    teacher = Teacher.load(str(folder), LabelSpace(names))
    with pytest.raises(InputError, match="teacher_model_name_or_path .*NaN for 1 of 2 rows"):
        teacher.compute_logits(
            [("the sea",), ("a red dog",)], max_length=16, batch_size=2, folder=tmp_path
        )
