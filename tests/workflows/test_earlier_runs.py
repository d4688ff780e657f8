"""A run knows the texts of the runs before it: splits, warnings, evaluation."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs import run
from zlpr_hf import Report, ZLPRClassifier, finetune
from zlpr_hf.cli.main import main
from zlpr_hf.data.seen_texts import SEEN_FILE, SeenTexts, hash_texts
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.earlier_runs import FEW_MEASURED_ROWS, EarlierRuns
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data, load_own_data

Row = dict[str, Any]
FAST = [
    "--max_steps=1", "--max_length=16", "--save_strategy=steps", "--save_steps=1", "--bf16=false",
    "--baselines=false", "--pooling=first", "--folds=0",
]  # fmt: skip


def write(path: Path, rows: list[Row]) -> str:
    """Write rows under other names than the default ones."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["review", "tags"])
        writer.writerows([row["text"], "|".join(row["labels"])] for row in rows)
    return str(path)


READ = ["--text_column=review", "--label_column=tags", "--label_delimiter=|"]


@pytest.fixture(scope="module")
def rows(colour_rows: list[Row]) -> list[Row]:
    """Texts that are all different, each with a label."""
    labelled = [row for row in colour_rows if row["labels"]]
    return list({str(row["text"]): row for row in labelled}.values())


@pytest.fixture(scope="module")
def model(
    rows: list[Row], encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Report]:
    """A finished run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("remembered")
    data = write(folder / "rows.csv", rows)
    start = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *READ, *FAST]
    return folder / "model", run(start, folder / "model")


def own_texts(folder: Path) -> dict[str, set[str]]:
    """Texts of each split of the first run, drawn again from its configuration alone."""
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    return {name: set(each["text"]) for name, each in data.splits.items()}


def log_of(argv: list[str], folder: Path) -> tuple[list[str], Report]:
    lines: list[str] = []
    return lines, finetune_config(
        parse_arguments([*argv, f"--output_dir={folder}"]), log=lines.append
    )


def evaluated(path: Path, *argv: str) -> dict[str, Any]:
    assert main(["evaluate", *argv, f"--output={path}", "--resamples=5"]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_evaluation_counts_texts_of_training(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    texts = own_texts(model[0])
    new = [{"text": f"a {colour} cat", "labels": [colour]} for colour in ("red", "green")]
    data = write(tmp_path / "all.csv", [*rows, *new])
    found = evaluated(tmp_path / "e.json", str(model[0]), f"--dataset={data}")  # columns as trained
    assert found["rows"] == len(rows) + 2
    assert found["seen"] == {"train": len(texts["train"]), "validation": len(texts["validation"])}
    assert sum(str(len(texts["train"])) in line for line in found["warnings"]) >= 1
    own = evaluated(tmp_path / "own.json", str(model[0]))
    assert own["seen"] == {"train": 0, "validation": 0}
    assert evaluated(tmp_path / "t.json", str(model[0]), "--split=train")["seen"] == {}


def test_old_folder_without_the_record_is_evaluated(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(model[0], old)
    (old / SEEN_FILE).unlink()
    config = json.loads((old / "config.json").read_text())
    del config["zlpr"]["data"]
    (old / "config.json").write_text(json.dumps(config))
    data = write(tmp_path / "all.csv", rows)
    assert evaluated(tmp_path / "e.json", str(old), f"--dataset={data}", *READ)["seen"] == {}
    assert main(["evaluate", str(old), f"--dataset={data}"]) == 2


def test_tuned_model_knows_the_texts_that_chose_its_offsets(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    new = [row | {"text": f"{row['text']} again"} for row in rows[:20]]
    data = write(tmp_path / "new.csv", new)
    tuned = tmp_path / "tuned"
    tuning = ["--tune_thresholds=global", f"--tuned_model={tuned}"]
    first = evaluated(tmp_path / "e.json", str(model[0]), f"--dataset={data}", *tuning)
    assert first["seen"] == {"train": 0, "validation": 0}
    again = evaluated(tmp_path / "a.json", str(tuned), f"--dataset={data}")
    assert again["seen"] == {"train": 0, "validation": 20}


def test_rows_keep_their_split_when_training_goes_on(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    texts = own_texts(model[0])
    new = [row | {"text": f"{row['text']} again"} for row in rows[:30]]
    data = write(tmp_path / "grown.csv", [*new, *rows])
    lines, report = log_of(
        [f"--model_name_or_path={model[0]}", f"--train_file={data}", *READ, *FAST], tmp_path / "n"
    )
    config = parse_arguments([str(tmp_path / "n" / "train_config.yaml")]).data
    now = {
        name: set(each["text"])
        for name, each in load_own_data(str(tmp_path / "n"), config).splits.items()
    }
    for name, known in texts.items():
        assert known <= now[name]
    assert sum(map(len, now.values())) == len(rows) + 30
    assert not any("warning" in line for line in lines)
    profile = {name: split.rows for name, split in report.profile.splits.items()}
    assert profile == {name: len(found) for name, found in now.items()}
    # From another encoder nothing is known, so that the rows are drawn anew.
    fresh = load_data(config).splits["test"]["text"]
    assert set(fresh) & texts["train"]


def test_few_new_rows_are_cross_fitted_unless_the_model_knows_one(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    new = [row | {"text": f"{row['text']} again"} for row in rows[:30]]
    texts = own_texts(model[0])
    for split in (None, "train", "validation", "test"):
        known = [row for row in rows if split and row["text"] in texts[split]][:8]
        data = write(tmp_path / f"{split}.csv", [*new, *known])
        words = [f"--model_name_or_path={model[0]}", f"--train_file={data}", *READ, *FAST[:-1]]
        lines, report = log_of(words, tmp_path / str(split))
        assert report.folds == (0 if known else 5)
        small = [line for line in lines if "warning" in line and str(model[0]) in line]
        counts = [each.rows for name, each in report.profile.splits.items() if name != "train"]
        assert len(small) == sum(count < FEW_MEASURED_ROWS for count in counts)
        if split in ("validation", "test"):  # they stay held out
            config = parse_arguments([str(tmp_path / split / "train_config.yaml")]).data
            now = load_own_data(str(tmp_path / split), config).splits[split]["text"]
            assert {row["text"] for row in known} <= set(now)


def test_texts_of_given_splits_that_were_trained_on_are_counted(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path
) -> None:
    trained = own_texts(model[0])["train"]
    files = [
        f"--{split}_file={write(tmp_path / f'{split}.csv', part)}"
        for split, part in (("train", rows[:40]), ("validation", rows[40:60]), ("test", rows[60:]))
    ]
    lines, report = log_of(
        [f"--model_name_or_path={model[0]}", *files, *READ, *FAST], tmp_path / "n"
    )
    for split, part in (("validation", rows[40:60]), ("test", rows[60:])):
        count = sum(row["text"] in trained for row in part)
        assert count > 0
        for found in (lines, report.warnings):
            assert any(f"{split}: " in line and f"on {count} of" in line for line in found)
    seen = SeenTexts.find(tmp_path / "n")
    assert seen is not None
    everything = trained | {row["text"] for row in rows[:40]}
    assert sorted(seen.trained) == sorted(hash_texts((text,) for text in everything).tolist())


def copy_of(model: Path, folder: Path) -> tuple[Path, dict[str, set[str]]]:
    """Copy a model; return its new folder and the texts of its splits."""
    copy = Path(shutil.copytree(model, folder / "model"))
    return copy, own_texts(copy)


def test_resuming_with_changed_rows_is_told_and_keeps_splits(
    model: tuple[Path, Report], rows: list[Row], encoder_dir: Path, tmp_path: Path
) -> None:
    folder, texts = copy_of(model[0], tmp_path)
    gone = min(texts["train"])
    kept = [row for row in rows if row["text"] != gone]
    data = write(tmp_path / "changed.csv", [*kept, {"text": "one more", "labels": ["red"]}])
    start = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *READ, *FAST]
    resume = [*start, "--max_steps=2", "--resume_from_checkpoint=true"]
    lines, _ = log_of(resume, folder)
    assert any("1 texts are new, 1 are missing" in line for line in lines)
    seen = SeenTexts.find(folder)
    assert seen is not None
    for name in ("validation", "test"):
        assert seen.splits[name].tolist() == sorted(hash_texts((t,) for t in texts[name]).tolist())
    # The weights have read the row that is missing now.
    assert seen.count([(gone,), ("one more",)]) == {"train": 2, "validation": 0}


def test_resumed_run_leaves_the_record_of_an_undisturbed_one(
    model: tuple[Path, Report], encoder_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model[0], folder)
    data = parse_arguments([str(folder / "train_config.yaml")]).data.train_file
    start = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *READ, *FAST]
    lines, _ = log_of([*start, "--max_steps=2", "--resume_from_checkpoint=true"], folder)
    assert not any("warning" in line for line in lines)
    with np.load(folder / SEEN_FILE) as now, np.load(model[0] / SEEN_FILE) as before:
        assert now.files == before.files
        for name in now.files:
            np.testing.assert_array_equal(now[name], before[name])


def test_replaced_run_keeps_splits_only_if_it_draws_alike(
    model: tuple[Path, Report], rows: list[Row], encoder_dir: Path, tmp_path: Path
) -> None:
    folder, texts = copy_of(model[0], tmp_path)
    data = write(tmp_path / "grown.csv", [{"text": "one more", "labels": ["red"]}, *rows])
    start = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *READ, *FAST]
    start += ["--overwrite_output_dir=true"]
    run(start, folder)
    now = SeenTexts.find(folder)
    assert now is not None
    assert now.splits["test"].tolist() == sorted(hash_texts((t,) for t in texts["test"]).tolist())
    run(start, folder, "--split_seed=1")
    other = SeenTexts.find(folder)
    assert other is not None
    assert other.drawing == (0.1, 0.1, 1.0)
    expected = load_data(parse_arguments([str(folder / "train_config.yaml")]).data).splits["test"]
    assert other.splits["test"].tolist() == sorted(
        hash_texts((t,) for t in expected["text"]).tolist()
    )


def test_rows_of_a_replaced_cross_fitted_run_are_free_for_a_validation_split(
    rows: list[Row], encoder_dir: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "rows.csv", rows)
    words = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *READ, *FAST[:-1]]
    assert run(words, tmp_path / "out").folds
    words += [f"--output_dir={tmp_path / 'out'}"]
    for more, is_known in (("--folds=0", False), ("--folds=5", True), ("--split_seed=1", False)):
        found = EarlierRuns.find(parse_arguments([*words, more]))
        assert (found.replaced is not None) == is_known
    words += [f"--validation_file={data}"]
    assert EarlierRuns.find(parse_arguments(words)).replaced is not None


def test_rows_in_memory_keep_their_split_too(
    model: tuple[Path, Report], rows: list[Row], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = own_texts(model[0])
    options: dict[str, Any] = {
        "model": str(model[0]), "max_steps": 1, "max_length": 16, "pooling": "first", "bf16": False,
        "baselines": False, "split_seed": 3,
    }  # fmt: skip
    finetune(rows, **options, output_dir=tmp_path / "frame", log=lambda text: None)
    new = [row | {"text": f"{row['text']} again"} for row in rows[:12]]
    known = [row for row in rows if row["text"] in texts["train"]]
    classifier = ZLPRClassifier(**options, output_dir=tmp_path / "fitted")
    for each, expected in ((rows, texts), ([*known, *new], {"train": texts["train"]})):
        classifier.fit([row["text"] for row in each], [row["labels"] for row in each])
        assert classifier.report_ is not None
        assert classifier.report_.folds == 0
        for folder in ("frame", "fitted") if each is rows else ("fitted",):
            seen = SeenTexts.find(tmp_path / folder)
            assert seen is not None
            for name, held in expected.items():
                assert np.isin(hash_texts((text,) for text in held), seen.splits[name]).all()
        shutil.rmtree(tmp_path / "fitted")
    assert classifier.report_.profile.splits["test"].rows < FEW_MEASURED_ROWS
    assert any(str(model[0]) in note for note in classifier.report_.warnings)
    assert all(note in caplog.text for note in classifier.report_.warnings)
