"""Cross-fitting: out-of-fold logits, runs without a validation split, and resuming by fold."""

import json
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score
from transformers import AutoConfig

from tests.runs import check_refused, run
from zlpr_hf import InputError, Report, Thresholds
from zlpr_hf.cli.main import main
from zlpr_hf.workflows import cross_fit as module
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.cross_fit import StoredLogits, cross_fit
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.outcome import predict_logits
from zlpr_hf.workflows.prepare import Prepared, prepare
from zlpr_hf.zlpr_config import ZLPRConfig

FEW = ("--folds=3", "--num_train_epochs=2")


def without_folds(command: list[str]) -> list[str]:
    return [word for word in command if not word.startswith("--folds")]


@pytest.fixture(scope="module")
def crossed(
    command: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Report, Prepared]:
    """A cross-fitted run with zero thresholds, its report and its data. Do not change it."""
    folder = tmp_path_factory.mktemp("crossed") / "run"
    more = (*FEW, "--tune_thresholds=none", "--min_labels=0")
    report = run(command, folder, *more, "--eval_on_start=true")  # there is nothing to evaluate
    config = parse_arguments([*command, *more, f"--output_dir={folder}-again"])
    return folder, report, prepare(config, cross_fits=True)


def test_metrics_are_those_of_the_out_of_fold_logits(
    crossed: tuple[Path, Report, Prepared],
) -> None:
    folder, report, prepared = crossed
    stored = np.load(folder / "out_of_fold.npz")
    assert np.array_equal(stored["targets"], prepared.data.targets("train"))
    assert np.array_equal(stored["folds"], prepared.data.folds)
    truth, decided = stored["targets"] > 0.5, stored["logits"] > 0
    assert report.metrics["f1_micro"] == pytest.approx(f1_score(truth, decided, average="micro"))
    assert np.array_equal(stored["decisions"], decided)
    assert report.is_cross_validated
    assert list(report.profile.splits) == ["train"]
    assert report.folds == 3
    assert report.best_epoch == 2
    assert not list(folder.glob("folds*"))


def test_no_model_sees_the_rows_that_it_judges(
    crossed: tuple[Path, Report, Prepared], tmp_path: Path
) -> None:
    _, _, prepared = crossed
    seen: list[tuple[int, set[str], set[str]]] = []

    def look(trainer: Any, rows: Any) -> Any:
        train, asked = (
            {str(ids) for ids in each["input_ids"]} for each in (trainer.train_dataset, rows)
        )
        seen.append((len(rows), train, asked))
        return np.zeros((len(rows), 3), np.float32)

    training = parse_arguments([f"--output_dir={tmp_path}", "--num_train_epochs=1"]).training
    cross_fit(prepared, replace(prepared.config, training=training), look, log=lambda _: None)
    assert sum(count for count, _, _ in seen) == len(prepared.encoded["train"])
    assert len(seen) == 3
    assert not any(train & asked for _, train, asked in seen)


def test_interrupted_folds_are_not_trained_again(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = run(command, tmp_path / "whole", *FEW)
    trained: list[str] = []
    limit = 2
    actual = module.run_training

    def count(trainer: Any) -> float:
        if len(trained) == limit:
            raise KeyboardInterrupt
        trained.append(trainer.args.output_dir)
        return actual(trainer)

    monkeypatch.setattr(module, "run_training", count)
    more = ("--overwrite_output_dir", "true", f"--output_dir={tmp_path / 'part'}")
    assert main(["train", *command, *FEW, *more]) == 130
    printed = capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "part/folds").glob("*.npz")) == [
        "fold-1.npz", "fold-2.npz",
    ]  # fmt: skip
    limit = 5
    words = shlex.split(printed.partition("2 finished folds were kept; resume with: ")[2])
    assert main(words[words.index("train") :]) == 0
    assert len(trained) == 3
    resumed = Report.load(tmp_path / "part" / "results.json")
    assert resumed.metrics == pytest.approx(whole.metrics)
    logits = [np.load(tmp_path / name / "out_of_fold.npz")["logits"] for name in ("whole", "part")]
    assert np.array_equal(*logits)


def test_folds_of_other_options_are_trained_again(
    crossed: tuple[Path, Report, Prepared], tmp_path: Path
) -> None:
    _, _, prepared = crossed
    config = prepared.config
    training = parse_arguments([f"--output_dir={tmp_path}", "--num_train_epochs=1"]).training
    config = replace(config, training=training)
    lines: list[str] = []
    cross_fit(prepared, config, predict_logits, log=lines.append)
    cross_fit(prepared, config, predict_logits, log=lines.append)
    assert len(lines) == 3
    other = replace(config, model=replace(config.model, dropout=0.5))
    cross_fit(prepared, other, predict_logits, log=lines.append)
    assert len(lines) == 6
    (tmp_path / "folds/fold-2.npz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="fold-2"):
        cross_fit(prepared, other, predict_logits, log=lines.append)


def test_folds_of_other_models_or_descriptions_are_trained_again(
    command: list[str], encoder_dir: Path, tmp_path: Path
) -> None:
    encoder, described = tmp_path / "encoder", tmp_path / "labels.yaml"
    shutil.copytree(encoder_dir, encoder)
    described.write_text("red: a warm colour")
    more = ["--folds=3", "--num_train_epochs=1", f"--label_descriptions_file={described}"]
    words = [*command, *more, f"--model_name_or_path={encoder}", f"--output_dir={tmp_path}/run"]
    lines: list[str] = []

    def count_trained() -> int:
        before = len(lines)
        config = parse_arguments(words)
        cross_fit(prepare(config, cross_fits=True), config, predict_logits, log=lines.append)
        return len(lines) - before

    assert [count_trained(), count_trained()] == [3, 0]
    described.write_text("red: the colour of blood")
    assert [count_trained(), count_trained()] == [3, 0]
    stat = (encoder / "model.safetensors").stat()
    os.utime(encoder / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert count_trained() == 3


@pytest.mark.parametrize("loss", ["weighted_bce", "class_balanced"])
def test_losses_are_fitted_without_the_rows_of_the_fold(
    command: list[str], tmp_path: Path, loss: str
) -> None:
    """The frequencies of labels are those of the rows that a model is trained on."""
    more = ["--num_train_epochs=1", "--folds=3", f"--loss={loss}", f"--output_dir={tmp_path}"]
    config = parse_arguments([*command, *more])
    prepared = prepare(config, cross_fits=True)
    targets, folds = prepared.data.targets("train"), prepared.data.folds
    found = []

    def look(trainer: Any, rows: Any) -> Any:
        found.append(trainer.loss)
        return np.zeros((len(rows), 3), np.float32)

    cross_fit(prepared, config, look, log=lambda _: None)
    assert len(found) == 3
    for fold, each in enumerate(found):
        kept = targets[folds != fold]
        positives = kept.sum(0)
        if loss == "weighted_bce":
            assert each.positive_weight.tolist() == pytest.approx(len(kept) / positives - 1)
        else:
            assert each.positives.tolist() == positives.tolist()


def test_a_test_file_is_kept_and_thresholds_come_from_the_folds(
    command: list[str], tmp_path: Path, colour_rows: list[dict[str, object]]
) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in colour_rows[:30]))
    report = run(command, tmp_path / "run", *FEW, f"--test_file={path}", "--tune_thresholds=shrunk")
    assert list(report.profile.splits) == ["train", "test"]
    assert not report.is_cross_validated
    assert StoredLogits.load(tmp_path / "run").decisions is None
    assert main(["evaluate", str(tmp_path / "run"), "--output", str(tmp_path / "e.json")]) == 0
    again = json.loads((tmp_path / "e.json").read_text())["metrics"]
    assert again["f1_micro"] == pytest.approx(report.metrics["f1_micro"], abs=1e-6)


def test_few_rows_are_cross_fitted_by_default(command: list[str], tmp_path: Path) -> None:
    words = without_folds(command)
    data = load_data(parse_arguments([*words, f"--output_dir={tmp_path}"]).data)
    assert list(data.splits) == ["train"]
    assert data.folds is not None
    assert data.folds.max() == 4
    train_file = next(word for word in words if word.startswith("--train_file"))
    validation = train_file.replace("--train", "--validation")
    more = parse_arguments([*words, validation, f"--output_dir={tmp_path}"]).data
    assert load_data(more).folds is None


def test_min_labels_are_learned_and_stored(command: list[str], tmp_path: Path) -> None:
    config = parse_arguments([*command, *FEW, f"--output_dir={tmp_path}"])
    truth = load_data(config.data).targets("train")
    report = run(command, tmp_path / "run", *FEW, "--learning_rate=1e-9", "--head_learning_rate=0")
    every_row = bool((truth > 0.5).any(1).all())
    stored = ZLPRConfig.read(AutoConfig.from_pretrained(tmp_path / "run")).thresholds
    assert (stored.get("min_labels", 0) == 1) == every_row
    if every_row:
        assert report.metrics["empty_predictions"] == 0


def test_blank_text_gets_no_label_where_every_row_has_one(
    command: list[str], tmp_path: Path
) -> None:
    path = next(word for word in command if word.startswith("--train_file")).split("=")[1]
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    rows = [row for row in rows if row["labels"]][:60]
    rows[5]["text"] = " "
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run([*command, f"--train_file={tmp_path / 'rows.jsonl'}", *FEW], tmp_path / "run")
    stored = StoredLogits.load(tmp_path / "run")
    (blank,) = np.flatnonzero((stored.logits == -1e4).all(1))
    assert stored.decisions is not None
    assert stored.decisions.any(1).sum() == len(rows) - 1
    assert not stored.decisions[blank].any()


def test_label_sets_get_no_least_number_of_labels(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(word for word in command if word.startswith("--train_file")).split("=")[1]
    lines = [line for line in Path(path).read_text().splitlines() if json.loads(line)["labels"]]
    (tmp_path / "labelled.jsonl").write_text("\n".join(lines))
    words = [*command, f"--train_file={tmp_path / 'labelled.jsonl'}", "--loss=powerset", *FEW]
    run(words, tmp_path / "run")
    assert not ZLPRConfig.read(AutoConfig.from_pretrained(tmp_path / "run")).thresholds
    check_refused([*words, "--min_labels=1"], tmp_path / "one", "min_labels", capsys)


def test_rates_of_dropout_are_those_of_the_checkpoint_after_training(
    crossed: tuple[Path, Report, Prepared],
) -> None:
    folder, _, prepared = crossed
    assert prepared.config.model.dropout == 0
    source = AutoConfig.from_pretrained(prepared.config.model.model_name_or_path)
    assert source.hidden_dropout_prob > 0
    saved = AutoConfig.from_pretrained(folder)
    assert saved.hidden_dropout_prob == source.hidden_dropout_prob
    assert saved.attention_probs_dropout_prob == source.attention_probs_dropout_prob


def test_rates_of_dropout_are_kept_by_a_run_that_overwrites_its_own_model(
    command: list[str], tmp_path: Path
) -> None:
    run(command, tmp_path, "--folds=0", "--num_train_epochs=1")
    rate = AutoConfig.from_pretrained(tmp_path).hidden_dropout_prob
    again = [f"--model_name_or_path={tmp_path}", "--overwrite_output_dir=true", "--dropout=0.25"]
    run(command, tmp_path, "--folds=0", "--num_train_epochs=1", *again)
    assert AutoConfig.from_pretrained(tmp_path).hidden_dropout_prob == rate != 0.25


def test_rdrop_keeps_the_dropout_that_it_needs(command: list[str], tmp_path: Path) -> None:
    words = [*command, *FEW, "--rdrop_alpha=1", f"--output_dir={tmp_path}"]
    assert prepare(parse_arguments(words), cross_fits=True).config.model.dropout is None


def test_evaluate_says_that_there_is_no_test_split(
    crossed: tuple[Path, Report, Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, _ = crossed
    assert main(["evaluate", str(folder)]) == 2
    assert "--dataset" in capsys.readouterr().err


def test_other_commands_and_too_few_rows_are_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse_arguments([*command, *FEW, f"--output_dir={tmp_path}"])
    with pytest.raises(InputError, match="folds"):
        prepare(config)
    check_refused([*command, "--folds=1"], tmp_path / "one", "folds", capsys)
    for more in (
        "--streaming=true",
        "--max_train_samples=3",
        "--large_label_space=true",
        "--lr_scheduler_type=reduce_lr_on_plateau",
    ):
        check_refused([*command, "--folds=5", more], tmp_path / "more", "folds", capsys)


@pytest.mark.parametrize(
    ("inside", "option", "folds", "refused"),
    [
        (".", "model_name_or_path", 3, True),
        ("checkpoint-999", "model_name_or_path", 3, True),
        (".", "model_name_or_path", 0, False),
        ("other", "model_name_or_path", 3, False),
        (".", "teacher_model_name_or_path", 3, True),
        (".", "teacher_model_name_or_path", 0, True),
        ("folds/m", "teacher_model_name_or_path", 0, True),
    ],
)
def test_a_run_does_not_remove_a_model_that_it_reads_again(
    inside: str, option: str, folds: int, refused: bool,
    command: list[str], crossed: tuple[Path, Report, Prepared], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "own"
    shutil.copytree(crossed[0], folder)
    if inside != ".":
        shutil.copytree(crossed[0], folder / inside)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    words = [*command, f"--folds={folds}", f"--output_dir={folder}", "--overwrite_output_dir=true"]
    words += [f"--{option}={folder / inside}", "--num_train_epochs=1"]
    assert main(["train", *words]) == (2 if refused else 0)
    error = capsys.readouterr().err
    if refused:
        assert "output_dir" in error
        after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
        assert after == before


def test_rare_labels_are_those_of_the_training_rows(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the rows that fit the offsets are not those of the folds."""
    path = tmp_path / "validation.jsonl"
    row = {"text": "red", "labels": ["red"]}
    path.write_text("".join(f"{json.dumps(row | {'text': f'red {i}'})}\n" for i in range(30)))
    given = []

    def record(*arrays: Any, **_: Any) -> Thresholds:
        given.append(arrays[2])  # the targets of training rows
        return Thresholds()

    monkeypatch.setattr("zlpr_hf.workflows.outcome.fit_rare_label_offsets", record)
    words = [*command, *FEW, "--tune_thresholds=rare_labels"]
    for more in ([f"--validation_file={path}"], []):
        given.clear()
        run(words, tmp_path / f"out-{len(more)}", *more)
        config = parse_arguments([*words, *more, f"--output_dir={tmp_path}"])
        expected = prepare(config, cross_fits=True).data.targets("train")
        assert any(np.array_equal(each, expected) for each in given)
        assert all(len(each) <= len(expected) and each.shape[1] == 3 for each in given)
        assert not any(len(each) == 30 for each in given)


def test_a_run_from_its_own_configuration_repeats(
    crossed: tuple[Path, Report, Prepared], tmp_path: Path
) -> None:
    folder, report, _ = crossed
    copy = tmp_path / "config.yaml"
    shutil.copy(folder / "train_config.yaml", copy)
    assert run([str(copy)], tmp_path / "again").metrics == report.metrics
