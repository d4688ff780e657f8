"""Suspect numbers: a warning with a remedy, and metrics that stay correct."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from tests.reports.builders import NAMES, make_logits, make_report
from tests.runs import run
from zlpr_hf import Classifier, compute_multi_label_metrics
from zlpr_hf.cli.main import main
from zlpr_hf.data.profile import DataProfile, SplitProfile
from zlpr_hf.metrics.top_k import TopK, compute_top_k_metrics
from zlpr_hf.reports.disagreements import EvaluatedSplit
from zlpr_hf.reports.html import render_html_report
from zlpr_hf.reports.sanity_checks import check_run, check_split


def found_in(logits: Any, targets: Any) -> list[str]:
    known = ~np.isnan(targets)
    counts = dict(zip(NAMES, (known & (targets >= 0.5)).sum(0).tolist(), strict=True))
    metrics = compute_multi_label_metrics(logits, targets)
    rows, cells = len(targets), int(known.sum())
    return check_split("test", metrics, counts, rows=rows, cells=cells)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("unknown", [False, True])
def test_predicting_nothing_or_everything_is_a_warning(sign: int, unknown: bool) -> None:
    _, targets = make_logits()
    targets[0, -1] = 1
    logits = np.full(targets.shape, sign * 5.0)
    (line,) = found_in(logits, targets)
    assert ("predicts no label" if sign < 0 else "predicts every label") in line
    assert "learning_rate" in line
    if unknown:
        targets[3:9, 1] = np.nan
        (line,) = found_in(logits, targets)
        assert ("predicts no label" if sign < 0 else "predicts every label") in line
        return
    metrics = compute_multi_label_metrics(logits, targets)
    for kind, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        for average in ("micro", "macro", "samples"):
            expected = score(targets, logits > 0, average=average, zero_division=0)
            assert metrics[f"{kind}_{average}"] == pytest.approx(expected)
    logits[0, 0] *= -1
    assert found_in(logits, targets) == []


@pytest.mark.parametrize("value", [0, 1])
def test_correct_constant_predictions_are_no_warning(value: int) -> None:
    targets = np.full((4, len(NAMES)), float(value))
    lines = found_in(10 * targets - 5, targets)
    assert [line.split(":")[1][:11] for line in lines] == ([] if value else [" no row has"])


def test_absent_labels_limit_the_macro_average() -> None:
    """The named maximum is the macro-F1 of a model without mistakes."""
    _, targets = make_logits()
    targets[:, 1] = 0
    (line,) = found_in(10 * targets - 5, targets)
    perfect = compute_multi_label_metrics(10 * targets - 5, targets)
    assert f"no row has 2 of 5 labels ({NAMES[1]}, {NAMES[4]})" in line
    assert perfect["f1_macro"] == pytest.approx(0.6)
    assert "0.600" in line
    assert perfect["average_precision_macro"] == 1


def test_predictions_at_the_top_k_limit_are_a_warning() -> None:
    best = TopK(np.ones((3, 2), np.float32), np.tile([1, 2], (3, 1)), 5)
    metrics = compute_top_k_metrics(best, np.array([[0], [1], [3]]))
    (line,) = check_split("test", metrics, dict.fromkeys("abcde", 1), rows=3, cells=15)
    assert "tune_thresholds global" in line


def test_label_without_training_rows_is_a_warning() -> None:
    split = SplitProfile(10, 1.0, 0.5, 0, 0, 0.0, 0, {"a": 10, "b": 0})
    (line,) = check_run(DataProfile({"train": split}, {}, {}), {})
    assert line.startswith("train: no row has 1 of 2 labels (b)")


def test_label_that_no_training_row_knows_is_a_warning() -> None:
    split = SplitProfile(10, 1.0, 0.5, 0, 10, 0.0, 0, {"a": 10, "b": 0}, unjudged_labels=["b"])
    (line,) = check_run(DataProfile({"train": split}, {}, {}), {})
    assert line.startswith("train: no row knows 1 of 2 labels (b)")


def test_page_shows_the_warnings_escaped() -> None:
    logits, targets = make_logits()
    splits = {
        "test": EvaluatedSplit(logits, logits > 0, targets, [("text",)] * 60, ["d.csv:2"] * 60)
    }
    report = make_report(NAMES, logits, targets)
    assert "<h2>Warnings</h2>" not in render_html_report(report, splits, names=NAMES)
    report.warnings.append("test: no row has <b>")
    page = render_html_report(report, splits, names=NAMES)
    assert "<li>test: no row has &lt;b&gt;</li>" in page
    assert "warning: test: no row has <b>" in report.render()


@pytest.mark.slow
def test_run_and_evaluation_give_the_same_warnings(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With learning rates near 0, the model keeps predicting nothing."""
    quick = [
        "--num_train_epochs=1", "--learning_rate=1e-9", "--head_learning_rate=1e-9",
        "--pooling=first", "--head_init=random", "--baselines=false",
    ]  # fmt: skip
    folder = tmp_path / "run"
    report = run(command, folder, *quick)
    classifier = Classifier.load(str(folder))
    with_bias: Any = classifier.model
    with_bias.classifier.bias.data[:] = -100.0
    with_bias.save_pretrained(folder)
    output = tmp_path / "e.json"
    assert main(["evaluate", str(folder), f"--output={output}", "--resamples=2"]) == 0
    (line,) = json.loads(output.read_text())["warnings"]
    assert "the model predicts no label for any text" in line
    assert f"warning: {line}" in capsys.readouterr().out
    stored = json.loads((folder / "results.json").read_text())
    assert stored["warnings"] == report.warnings
    sizes = {name: report.profile.splits[name].rows for name in ("validation", "test")}
    for name, metrics in (("validation", report.validation), ("test", report.metrics)):
        predicted = metrics["predicted_cardinality"] * sizes[name]
        said = any(
            line.startswith(f"{name}: the model predicts") for line in report.warnings
        )  # fmt: skip
        assert said == (round(predicted) in (0, 3 * sizes[name]))
