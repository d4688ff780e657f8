"""Long texts are read the same way by training, evaluation, pipelines and exports."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from tests.builders import COLOURS, OTHERS
from tests.runs import FAST, check_refused, run
from zlpr_hf import Report, load_pipeline
from zlpr_hf.cli.main import main
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows import long_texts as module
from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments
from zlpr_hf.workflows.long_texts import choose_rule, merge_into
from zlpr_hf.zlpr_config import ZLPRConfig

MAX_LENGTH = 16  # of FAST
RULES = ("cut", "mean", "max")
OPTIONS = [*FAST, "--baselines=false", "--save_strategy=no"]


def write_rows(path: Path, count: int, *, long: bool, pairs: bool = False) -> Path:
    """Texts that name colours; every second ``long`` one after more words than training reads."""
    generator = np.random.default_rng(count)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        present = [colour for colour in COLOURS if generator.random() < 0.5]
        words = 30 if long and number % 2 else generator.integers(2, 12)
        filler = generator.choice(OTHERS, words).tolist()
        row = {"text": " ".join([*filler, *present]), "labels": present}
        other = " ".join(generator.choice(OTHERS, 3))
        if pairs:
            row |= {"text": other, "other": row["text"]} if number % 3 else {"other": other}
        rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def argv(encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("long")
    files = [
        f"--{split}_file={write_rows(folder / f'{split}.jsonl', count, long=split != 'train')}"
        for split, count in (("train", 120), ("validation", 80), ("test", 60))
    ]
    return [f"--model_name_or_path={encoder_dir}", *files, *OPTIONS]


@pytest.fixture(scope="module")
def runs(
    argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Report]]:
    """A short run per rule, all but the first one with tuned offsets."""
    found = {}
    for rule, tuning in zip(RULES, ("none", "global", "per_label"), strict=True):
        folder = tmp_path_factory.mktemp("runs") / rule
        more = [f"--long_texts={rule}", f"--tune_thresholds={tuning}", "--num_train_epochs=3"]
        found[rule] = folder, run(argv, folder, *more)
    return found


def evaluated(path: Path, model: Path, *arguments: str) -> dict[str, Any]:
    argv = ["evaluate", str(model), *arguments, "--output", str(path), "--resamples=20"]
    assert main(argv) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def check_same_numbers(model: Path, report: Report, path: Path) -> None:
    """``zlpr evaluate MODEL`` repeats all test metrics, and the scores of each label."""
    found = evaluated(path, model)
    assert found["rows"] == report.profile.splits["test"].rows
    assert found["metrics"] == pytest.approx(report.metrics, abs=1e-6)
    for score, expected in zip(found["label_scores"], report.label_scores, strict=True):
        assert score == pytest.approx(asdict(expected), abs=1e-6)
    stored = json.loads((model / "results.json").read_text())
    assert stored["test"][MODEL_ROW] == report.metrics


@pytest.mark.parametrize("rule", RULES)
def test_evaluation_after_training_repeats_its_numbers(
    rule: str, runs: dict[str, tuple[Path, Report]], tmp_path: Path
) -> None:
    folder, report = runs[rule]
    facts = report.training["long_texts"]
    assert facts["rule"] == rule
    assert min(facts["longer"].values()) > 10
    assert Classifier.load(folder).stored_long_texts == rule
    check_same_numbers(folder, report, tmp_path / "e.json")
    validation = evaluated(tmp_path / "v.json", folder, "--split=validation")
    assert validation["metrics"] == pytest.approx(report.validation, abs=1e-6)


def test_rules_lead_to_different_numbers(runs: dict[str, tuple[Path, Report]]) -> None:
    assert len({report.metrics["brier"] for _, report in runs.values()}) == len(RULES)


def test_pairs_of_one_file_are_read_alike(encoder_dir: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", 200, long=True, pairs=True)
    argv = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *OPTIONS]
    more = ["--text_pair_column=other", "--num_train_epochs=3", "--long_texts=max"]
    report = run(argv, tmp_path / "run", *more)
    check_same_numbers(tmp_path / "run", report, tmp_path / "e.json")


def test_exports_keep_the_rule(runs: dict[str, tuple[Path, Report]], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder, report = runs["max"]
    exported = tmp_path / "onnx"
    assert main(["export", str(folder), "--output", str(exported)]) == 0
    classifier = Classifier.load(exported)
    assert classifier.stored_long_texts == "max"
    data = load_own_data(str(folder), read_data_arguments(str(folder), otherwise=""))
    rows = EvaluationSet.from_split(data, "test", classifier.label_space, "data")
    decided = classifier.decide(classifier.compute_logits(rows.texts))
    expected = Classifier.load(folder)
    np.testing.assert_array_equal(decided, expected.decide(expected.compute_logits(rows.texts)))
    assert decided.sum(0).tolist() == [each.predicted for each in report.label_scores]


def test_a_stock_pipeline_agrees_with_a_model_that_cuts(
    runs: dict[str, tuple[Path, Report]],
) -> None:
    folder, report = runs["cut"]
    data = load_own_data(str(folder), read_data_arguments(str(folder), otherwise=""))
    texts = data.splits["test"]["text"][:]
    stock: Any = pipeline("text-classification", str(folder), top_k=None, truncation=True)
    expected = [
        {each["label"] for each in answer if each["score"] > 0.5} for answer in stock(texts)
    ]
    classify = load_pipeline(folder)
    assert [{each["label"] for each in answer} for answer in classify(texts)] == expected
    assert sum(map(len, expected)) == sum(each.predicted for each in report.label_scores) > 0


def test_the_best_rule_on_validation_is_stored(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model learns colours from short texts; in long ones, only windows show them."""
    report = run(argv, tmp_path / "run", "--num_train_epochs=16")
    facts = report.training["long_texts"]
    assert facts["rule"] == "max"
    f1 = facts["validation_f1_micro"]
    assert f1["max"] == pytest.approx(report.validation["f1_micro"])
    assert f1["max"] > max(f1["cut"], f1["mean"]) + 0.1
    check_same_numbers(tmp_path / "run", report, tmp_path / "e.json")
    capsys.readouterr()
    other = evaluated(tmp_path / "c.json", tmp_path / "run", "--long_texts=cut")
    assert other["long_texts"] == "cut"
    assert "evaluated with max" in capsys.readouterr().err


def decisions_of(f1: dict[str, int], rows: int = 40) -> dict[Any, Any]:
    """Decisions of one label, all true, of which each rule finds so many."""
    return {rule: np.arange(rows)[:, None] < found for rule, found in f1.items()}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"cut": 20, "mean": 20, "max": 20}, "cut"),
        ({"cut": 20, "mean": 22, "max": 21}, "cut"),  # too few rows differ
        ({"cut": 10, "mean": 30, "max": 20}, "mean"),
        ({"cut": 10, "mean": 20, "max": 30}, "max"),
        ({"cut": 30, "mean": 10, "max": 20}, "cut"),
    ],
)
def test_windows_are_chosen_only_if_clearly_better(found: dict[str, int], expected: str) -> None:
    rule, f1 = choose_rule(decisions_of(found), np.ones((40, 1)))
    assert rule == expected
    assert f1 == pytest.approx({name: 2 * hits / (hits + 40) for name, hits in found.items()})


def test_only_long_texts_change_with_the_rule() -> None:
    cut = np.array([[1.0], [2.0], [3.0]], np.float32)
    windows, owners = np.array([[5.0], [-1.0], [2.0]], np.float32), np.array([2, 2, 0])
    assert merge_into(cut, windows, owners, "cut").tolist() == cut.tolist()
    assert merge_into(cut, windows, owners, "mean").ravel().tolist() == [2.0, 2.0, 2.0]
    assert merge_into(cut, windows, owners, "max").ravel().tolist() == [2.0, 2.0, 5.0]


def test_nothing_is_computed_without_a_long_validation_text(
    finished: tuple[Path, Report],
) -> None:
    facts = finished[1].training["long_texts"]
    assert (facts["rule"], facts["validation_f1_micro"]) == ("cut", {})
    assert facts["longer"] == {"validation": 0, "test": 0}
    assert Classifier.load(finished[0]).stored_long_texts == "cut"


def test_rules_are_compared_on_a_sample_of_very_many_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WINDOWS", 10)
    owners = np.repeat(np.arange(0, 20, 2), 5)  # 50 windows of ten texts
    rows = module._rows_to_compare(owners, 20)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert 10 <= np.isin(owners, rows).sum() < 20
    assert module._rows_to_compare(owners[:10], 20).tolist() == list(range(20))


def test_windows_are_refused_for_a_large_label_space(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--long_texts=mean", "--large_label_space=true"]
    check_refused([*argv, *more], tmp_path / "run", "long_texts mean", capsys)


def test_a_model_without_a_rule_cuts_and_warns_once(
    runs: dict[str, tuple[Path, Report]], caplog: pytest.LogCaptureFixture
) -> None:
    classifier = Classifier.load(runs["max"][0])
    ZLPRConfig.update(classifier.model.config, long_texts=None)
    texts = ["red", "sky " * 30 + "red", "sea " * 14, "sea " * 15]
    found = classifier.compute_logits(texts)
    np.testing.assert_array_equal(found, classifier.compute_logits(texts, long_texts="cut"))
    classifier.compute_logits(texts)
    (record,) = caplog.records
    assert record.args == (2, 4, MAX_LENGTH)


def test_an_unknown_rule_is_refused_when_the_model_is_loaded(
    runs: dict[str, tuple[Path, Report]],
) -> None:
    classifier = Classifier.load(runs["cut"][0])
    ZLPRConfig.update(classifier.model.config, long_texts="middle")
    with pytest.raises(InputError, match="long_texts"):
        Classifier.from_model(classifier.model, classifier.tokenizer)


def test_a_new_training_forgets_the_rule_of_an_earlier_one(
    runs: dict[str, tuple[Path, Report]], argv: list[str], tmp_path: Path
) -> None:
    more = [f"--model_name_or_path={runs['max'][0]}", "--max_steps=1", "--long_texts=auto"]
    report = run(argv, tmp_path / "again", *more)
    rule = Classifier.load(tmp_path / "again").stored_long_texts
    assert rule == report.training["long_texts"]["rule"]


def test_offsets_are_saved_with_the_rule_that_they_were_fitted_with(
    runs: dict[str, tuple[Path, Report]], tmp_path: Path
) -> None:
    more = ["--split=validation", "--tune_thresholds=global", "--long_texts=mean"]
    evaluated(tmp_path / "e.json", runs["cut"][0], *more, "--tuned_model", str(tmp_path / "tuned"))
    assert Classifier.load(tmp_path / "tuned").stored_long_texts == "mean"
