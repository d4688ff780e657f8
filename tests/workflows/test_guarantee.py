"""zlpr guarantee: a new model that decides by the offsets everywhere, and refused calls."""

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from tests.builders import COLOURS, OTHERS
from zlpr_hf import Classifier, Report, Thresholds
from zlpr_hf.cli.main import main
from zlpr_hf.inference.model_folder import write_folder
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.metrics.risk_control import fit_guarantee, measure_risks
from zlpr_hf.workflows.guarantee import Rows, render_effect
from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments

TEXTS = [
    " ".join(np.random.default_rng(seed).choice([*COLOURS, *OTHERS], 1 + seed % 7))
    for seed in range(40)
]


@pytest.fixture(scope="module")
def source(finished: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a run, beside which models with guarantees are written."""
    folder = tmp_path_factory.mktemp("guarantee") / "colours"
    shutil.copytree(finished[0], folder)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """More rows of the same kind, with noise, so that guarantees move the threshold."""
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(200):
        words = rng.choice([*COLOURS, *OTHERS], 5).tolist()
        labels = [each for each in COLOURS if (each in words) != (rng.random() < 0.15)]
        lines.append(json.dumps({"text": " ".join(words), "labels": labels}))
    path = tmp_path_factory.mktemp("fresh") / "fresh.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def stored_guarantee(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())["zlpr"]["guarantee"]
    return found


def test_new_model_decides_by_the_offset_in_every_consumer(
    source: Path, fresh: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    before = Classifier.load(source)
    expected = before.compute_logits(TEXTS)
    folder = tmp_path / "found"
    argv = ["guarantee", str(source), "--recall", "0.9", "--dataset", fresh]
    assert main([*argv, "--output_dir", str(folder)]) == 0
    stored = stored_guarantee(folder)
    offsets = np.array(stored["offsets"])
    assert (stored["kind"], stored["level"], stored["source"]) == ("recall", 0.9, "fresh.jsonl")
    assert len(set(offsets.tolist())) == 1
    assert offsets[0] != 0
    after = Classifier.load(folder)
    np.testing.assert_allclose(after.compute_logits(TEXTS), expected - offsets, atol=1e-4)
    wanted = expected > offsets
    np.testing.assert_array_equal(after.decide(after.compute_logits(TEXTS)), wanted)
    classify = pipeline("text-classification", str(folder), top_k=None)
    names = after.label_space.names
    for answer, row in zip(classify(TEXTS), wanted, strict=True):
        said = {each["label"] for each in answer if each["score"] > 0.5}
        assert said == {name for name, chosen in zip(names, row, strict=True) if chosen}
    exported = tmp_path / "onnx"
    assert main(["export", str(folder), "--output", str(exported)]) == 0
    onnx = Classifier.load(exported)
    np.testing.assert_array_equal(onnx.decide(onnx.compute_logits(TEXTS)), wanted)
    assert stored_guarantee(exported) == stored


def test_a_model_that_keeps_the_promise_is_left_as_it_is(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model makes no error on its own validation rows."""
    assert main(["guarantee", str(source), "--false_labels", "0.6"]) == 0
    folder = source.with_name("colours-false_labels-0.6")
    stored = stored_guarantee(folder)
    assert stored["offsets"] == [0.0] * 3
    assert stored["source"] == "validation"
    printed = capsys.readouterr().out
    assert "offset 0: the threshold of the model keeps this promise as it is" in printed
    before, after = Classifier.load(source), Classifier.load(folder)
    np.testing.assert_array_equal(after.compute_logits(TEXTS), before.compute_logits(TEXTS))
    assert "subtracts an offset" not in (folder / "README.md").read_text(encoding="utf-8")


def test_card_and_report_are_of_the_new_model(
    source: Path, fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = (source / "config.json").read_bytes(), (source / "model.safetensors").read_bytes()
    folder = tmp_path / "new"
    argv = ["guarantee", str(source), "--recall", "0.9", "--dataset", fresh]
    assert main([*argv, "--output_dir", str(folder)]) == 0
    stored = Guarantee.from_config(stored_guarantee(folder))
    assert stored is not None
    assert stored.offsets[0] < 0
    printed = capsys.readouterr().out
    report, before = Report.load(folder / "results.json"), Report.load(source / "results.json")
    assert report.guarantee == stored
    assert report.test["before the guarantee"] == before.metrics
    for name in ("README.md", "report.html"):
        page = html.unescape((folder / name).read_text(encoding="utf-8"))
        assert stored.describe() in page
        assert stored.describe_offsets() in page
    assert stored.describe() in printed
    assert stored.describe_assumption() in printed
    data = load_own_data(str(folder), read_data_arguments(str(folder), otherwise=""))
    classifier = Classifier.load(source)
    logits = classifier.compute_logits(data.texts("test"))
    risks = measure_risks(logits > stored.offsets, data.targets("test"))
    assert report.metrics["predicted_cardinality"] == pytest.approx(risks["labels_per_text"])
    assert f"{risks['false_labels']:.3f}" in printed
    now = (source / "config.json").read_bytes(), (source / "model.safetensors").read_bytes()
    assert now == old
    assert main(["evaluate", str(folder), "--resamples", "10"]) == 0


def test_repeated_calls_are_right(
    source: Path, fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same call: an error, or the same model; on its result: the offset of both together."""
    folder, argv = tmp_path / "one", ["guarantee", str(source), "--recall", "0.9"]
    argv += ["--dataset", fresh, "--output_dir", str(folder)]
    assert main(argv) == 0
    logits = Classifier.load(folder).compute_logits(TEXTS)
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite"]) == 0
    np.testing.assert_array_equal(Classifier.load(folder).compute_logits(TEXTS), logits)
    again = tmp_path / "two"
    argv[1], argv[-1] = str(folder), str(again)
    assert main(argv) == 0
    np.testing.assert_allclose(Classifier.load(again).compute_logits(TEXTS), logits, atol=3e-3)
    first, both = (stored_guarantee(each)["offsets"] for each in (folder, again))
    assert first[0] < 0
    np.testing.assert_allclose(both, first, atol=3e-3)  # all that the bias holds
    easier = tmp_path / "three"
    assert main(["guarantee", str(folder), "--recall", "0.5", "--dataset", fresh,
                 "--output_dir", str(easier)]) == 0  # fmt: skip
    assert stored_guarantee(easier)["offsets"] == first
    assert "subtracts an offset" in (easier / "README.md").read_text(encoding="utf-8")


def test_texts_of_the_training_promise_nothing(
    source: Path, fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["guarantee", str(source), "--recall", "0.5", "--output_dir", str(tmp_path / "new")]
    assert main([*argv, "--split", "train"]) == 2
    assert "--split train" in capsys.readouterr().err
    data = load_own_data(str(source), read_data_arguments(str(source), otherwise=""))
    names = data.label_space.names
    known = [
        json.dumps({"text": text, "labels": [names[i] for i in np.flatnonzero(row == 1)]})
        for (text,), row in zip(data.texts("train"), data.targets("train"), strict=True)
    ]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(known))
    assert main([*argv, "--dataset", str(rows)]) == 2
    assert "trained on all of these texts" in capsys.readouterr().err
    both = tmp_path / "both.jsonl"
    both.write_text("\n".join(known) + "\n" + Path(fresh).read_text())
    assert main([*argv, "--dataset", str(both)]) == 0
    assert f"{len(known)} of {len(known) + 200} texts are left out" in capsys.readouterr().out
    mixed = stored_guarantee(tmp_path / "new")
    assert main([*argv, "--dataset", fresh, "--overwrite"]) == 0
    assert stored_guarantee(tmp_path / "new")["offsets"] == mixed["offsets"]


def test_effect_is_that_of_both_models_with_their_limits(source: Path) -> None:
    limits = Thresholds(min_labels=1, max_labels=2)
    model = replace(Classifier.load(source), thresholds=limits)
    logits = np.array([[-2.0, -1, -3], [3, 2, 1]], np.float32)
    rows = Rows("", "", logits, np.array([[0, 0, 1], [1, 1, 0]], np.float32))
    table = render_effect(Guarantee("recall", 0.9, (-1.5,) * 3, 2), model, rows, "texts")
    numbers = {line.split("  ")[0]: line.split()[-2:] for line in table.splitlines()}
    assert numbers["false labels per text"] == ["0.500", "1.000"]
    assert numbers["labels per text"] == ["1.500", "2.000"]


def test_saved_logits_are_used_and_moved(source: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(source, run)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(600, 3)).astype(np.float32)
    targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    np.savez(run / "out_of_fold.npz", logits=logits, targets=targets, folds=np.arange(600) % 5)
    assert main(["guarantee", str(run), "--precision", "0.7", "--confidence", "0.9"]) == 0
    folder = tmp_path / "run-precision-0.7"
    stored = stored_guarantee(folder)
    expected = fit_guarantee(logits, targets, precision=0.7, confidence=0.9, keep_zero=True)
    assert expected.offsets[0] > 0
    assert tuple(stored["offsets"]) == expected.offsets
    assert (stored["confidence"], stored["source"]) == (0.9, "out-of-fold training rows")
    with np.load(folder / "out_of_fold.npz") as moved:
        np.testing.assert_allclose(moved["logits"], logits - expected.offsets[0], atol=1e-6)
        np.testing.assert_array_equal(moved["folds"], np.arange(600) % 5)
    (run / "out_of_fold.npz").write_bytes(b"broken")
    assert main(["guarantee", str(run), "--recall", "0.8"]) == 2


def test_limits_on_the_number_of_labels(
    source: Path, fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limited, folder = tmp_path / "limited", tmp_path / "few"
    classifier = Classifier.load(source)
    write_folder(
        limited,
        classifier.model,
        classifier.tokenizer,
        Thresholds(min_labels=1),
        temperature=None,
        long_texts=None,
    )
    argv = ["guarantee", str(limited), "--dataset", fresh, "--output_dir", str(folder)]
    assert main([*argv, "--false_labels", "0.5"]) == 0
    assert "min_labels 1 is removed" in capsys.readouterr().out
    assert Classifier.load(folder).thresholds == Thresholds()
    assert Classifier.load(limited).thresholds == Thresholds(min_labels=1)


def test_moved_thresholds_end_a_guarantee(source: Path, fresh: str, tmp_path: Path) -> None:
    folder, tuned = tmp_path / "g", tmp_path / "tuned"
    argv = ["guarantee", str(source), "--recall", "0.9", "--per_label", "--dataset", fresh]
    assert main([*argv, "--output_dir", str(folder)]) == 0
    assert len(set(stored_guarantee(folder)["offsets"])) == 3
    classifier = Classifier.load(folder)
    classifier.save(tuned, Thresholds((0.5, 0.0, 0.0)))
    assert "guarantee" not in json.loads((tuned / "config.json").read_text())["zlpr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say which promise: --recall, --false_labels or --precision"),
        (["--recall", "0.9", "--precision", "0.8"], "not allowed with"),
        (["--recall", "much"], "invalid number value: 'much'"),
        (["--recall", "1.5"], "recall: expected a number above 0 and below 1, got 1.5"),
        (["--false_labels", "3"], "false_labels: expected a number above 0 and below 3, got 3"),
        (["--precision", "0.8", "--confidence", "95"], "confidence: expected"),
        (["--recall", "0.9", "--confidence", "0.9"], "--confidence goes with --precision"),
        (["--precision", "0.8", "--per_label"], "per_label: goes with recall"),
        (["--recall", "0.999"], "needs at least 999 texts with a label"),
        (["--recall", "0.9", "--output_dir", "none/x"], "none: no such folder (--output_dir)"),
        (["--recall", "0.9", "--output_dir", "full"], "exists and holds no guarantee"),
        (["--recall", "0.9", "--dataset", "none.csv"], "none.csv: no such file"),
    ],
)
def test_invalid_call_is_one_line_and_writes_nothing(
    options: list[str],
    message: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    beside = sorted(path.name for path in source.parent.iterdir())
    assert main(["guarantee", str(source), *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(path.name for path in source.parent.iterdir()) == beside
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
