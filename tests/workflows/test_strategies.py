"""Complete runs with other losses, soft targets and teachers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.runs import check_refused
from zlpr_hf import InputError, LabelSets, Report, powerset_label_scores
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data

Run = Callable[..., tuple[Path, Report]]


@pytest.fixture(scope="module")
def command(encoder_dir: Path, rows_file: Path) -> list[str]:
    return [
        f"--model_name_or_path={encoder_dir}", f"--train_file={rows_file}", "--pooling=mean",
        "--num_train_epochs=12", "--per_device_train_batch_size=8", "--learning_rate=5e-3",
        "--head_learning_rate=1e-2", "--max_length=16", "--save_strategy=no", "--test_size=0.25",
        "--bf16=false", "--baselines=false", "--folds=0",
    ]  # fmt: skip


@pytest.fixture
def run(command: list[str], tmp_path: Path) -> Run:
    def finished(name: str, *options: str) -> tuple[Path, Report]:
        folder = tmp_path / name
        config = parse_arguments([*command, f"--output_dir={folder}", *options])
        return folder, finetune_config(config, log=lambda text: None)

    return finished


def texts_and_truth(folder: Path) -> tuple[list[str], list[set[str]]]:
    data = load_data(parse_arguments([str(folder / "train_config.yaml")]).data)
    names = data.label_space.names
    truth = [{names[index] for index in ids} for ids in data.splits["test"]["label_ids"]]
    return data.splits["test"]["text"][:], truth


def test_powerset_answers_with_a_label_set_in_a_stock_pipeline(run: Run) -> None:
    folder, report = run("powerset", "--loss=powerset")
    texts, truth = texts_and_truth(folder)
    answers = pipeline("text-classification", str(folder), truncation=True)(texts)
    decided = [set(answer["label"].split(" + ")) - {"(no label)"} for answer in answers]
    exact = sum(a == b for a, b in zip(decided, truth, strict=True)) / len(truth)
    assert exact == pytest.approx(report.metrics["subset_accuracy"], abs=1e-12)
    assert exact > 0.5
    assert report.training["outputs"] == 8
    assert report.training["unseen_label_sets"] == {"validation": 0, "test": 0}


def test_reloaded_powerset_model_has_label_scores_with_threshold_zero(run: Run) -> None:
    folder, report = run("powerset", "--loss=powerset", "--num_train_epochs=2")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    texts, truth = texts_and_truth(folder)
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    scores = powerset_label_scores(
        logits, torch.from_numpy(LabelSets.from_config(model.config).members())
    )
    names = model.config.zlpr["labels"]
    decided = [{names[i] for i in row.nonzero().flatten().tolist()} for row in scores > 0]
    exact = sum(a == b for a, b in zip(decided, truth, strict=True)) / len(truth)
    assert exact == pytest.approx(report.metrics["subset_accuracy"], abs=1e-12)


def test_unseen_label_sets_are_counted_and_reported(
    run: Run, rows_file: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    for name, kept in (("few", [r for r in rows if len(r["labels"]) < 3]), ("all", rows)):
        text = "".join(json.dumps(row) + "\n" for row in kept)
        (tmp_path / f"{name}.jsonl").write_text(text)
    files = [f"--{split}_file={tmp_path}/{'few' if split == 'train' else 'all'}.jsonl"
             for split in ("train", "validation", "test")]  # fmt: skip
    _, report = run("unseen", "--loss=powerset", "--num_train_epochs=1", *files)
    unseen = sum(len(row["labels"]) == 3 for row in rows)
    assert report.training["unseen_label_sets"] == {"validation": unseen, "test": unseen}
    assert f"{unseen} validation and {unseen} test rows" in report.render()


@pytest.mark.parametrize("loss", ["lsep", "bp_mll"])
def test_ranking_loss_gets_its_threshold_from_validation(run: Run, loss: str) -> None:
    # With this seed the best boundary on validation is not at zero by chance.
    options = ["--num_train_epochs=2", "--threshold_metric=f1_micro", "--seed=1"]
    folder, report = run(loss, f"--loss={loss}", *options)
    offsets = report.thresholds.offsets
    assert len(set(offsets)) == 1
    assert offsets[0] != 0
    texts, truth = texts_and_truth(folder)
    stock = pipeline("text-classification", str(folder), top_k=None, truncation=True)
    decided = [{item["label"] for item in row if item["score"] > 0.5} for row in stock(texts)]
    hits = sum(len(a & b) for a, b in zip(decided, truth, strict=True))
    f1 = 2 * hits / (sum(map(len, decided)) + sum(map(len, truth)))
    assert f1 == pytest.approx(report.metrics["f1_micro"], abs=1e-12)


@pytest.mark.parametrize(
    "loss", ["weighted_bce", "focal", "asymmetric", "distribution_balanced", "splc", "sigmoid_f1",
             "two_way"],
)  # fmt: skip
def test_other_losses_learn(run: Run, loss: str) -> None:
    folder, report = run(loss, f"--loss={loss}")
    assert report.metrics["f1_micro"] > 0.7
    config = json.loads((folder / "config.json").read_text())
    assert config["zlpr"]["loss"] == loss
    assert config["problem_type"] == "multi_label_classification"


def test_student_learns_from_teacher_logits_that_are_computed_once(run: Run) -> None:
    teacher, taught = run("teacher")
    options = [
        f"--teacher_model_name_or_path={teacher}",
        "--distillation_alpha=1",
        "--weight_averaging=none",
        f"--model_name_or_path={teacher}",
        "--keep_layers=1",
    ]
    folder, report = run("student", *options)
    layers = [json.loads((each / "config.json").read_text())["num_hidden_layers"]
              for each in (teacher, folder)]  # fmt: skip
    assert layers[1] == layers[0] - 1
    assert report.metrics["f1_micro"] > taught.metrics["f1_micro"] - 0.15
    cache = folder / "teacher_logits.npz"
    before = cache.stat().st_mtime_ns
    run("student", *options, "--resume_from_checkpoint=true", "--overwrite_output_dir=true")
    assert cache.stat().st_mtime_ns == before, "the teacher was asked again"
    run("student", *options, "--overwrite_output_dir=true", "--max_length=12")
    assert cache.stat().st_mtime_ns != before, "other inputs, other logits"


def test_teacher_logits_are_read_from_a_column(run: Run, rows_file: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    for row in rows:  # a teacher that knows the truth with confidence
        row["teacher"] = [4.0 if c in row["labels"] else -4.0 for c in ("blue", "green", "red")]
    path = tmp_path / "taught.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [f"--train_file={path}", "--teacher_logits_column=teacher"]
    _, report = run("column", *options, "--distillation_alpha=1")
    assert report.metrics["f1_micro"] > 0.8
    rows[3]["teacher"] = [1.0, 2.0]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"row 4: expected 3 finite numbers as the teacher's"):
        run("wrong", *options)


def test_rows_of_weight_zero_are_not_learned(run: Run, rows_file: Path, tmp_path: Path) -> None:
    """Rows whose labels are rotated do no harm if they weigh nothing."""
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    rotated = {"blue": "green", "green": "red", "red": "blue"}
    for index, row in enumerate(rows):
        row["trust"] = 1.0 if index % 2 else 0.0
        row["labels"] = row["labels"] if index % 2 else [rotated[name] for name in row["labels"]]
    path, whole = tmp_path / "mixed.jsonl", tmp_path / "right.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole.write_text(rows_file.read_text())
    files = [f"--train_file={path}", f"--validation_file={whole}", f"--test_file={whole}"]
    _, plain = run("plain", *files)
    _, weighted = run("weighted", *files, "--weight_column=trust")
    assert weighted.metrics["f1_micro"] > plain.metrics["f1_micro"] + 0.1


def test_saved_logits_give_the_reported_metrics(run: Run) -> None:
    folder, report = run("kept", "--save_logits=true", "--num_train_epochs=1")
    with np.load(folder / "logits.npz") as stored:
        decided, truth = stored["test_logits"] > 0, stored["test_targets"] > 0.5
        assert set(stored) == {f"{s}_{k}" for s in ("validation", "test")
                               for k in ("logits", "targets")}  # fmt: skip
    exact = (decided == truth).all(1).mean()
    assert exact == pytest.approx(report.metrics["subset_accuracy"], abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label_smoothing_factor=1"], "label_smoothing_factor: expected a number in [0, 1)"),
        (["--label_smoothing_factor=-0.1"], "label_smoothing_factor: expected a number in [0, 1)"),
        (["--label_smoothing_mode=all"], "label_smoothing_mode: invalid choice: 'all'"),
        (["--loss=powerset", "--label_smoothing_factor=0.1"], "label_smoothing_factor: expected 0"),
        (["--loss=powerset", "--tune_thresholds=global"], "tune_thresholds: loss powerset"),
        (["--loss=bce", "--rdrop_alpha=1"], "rdrop_alpha: needs a loss with a divergence"),
        (["--rdrop_alpha=-1"], "rdrop_alpha: expected 0 to"),
        (["--distillation_alpha=2"], "distillation_alpha: expected 0 to 1, got 2"),
        (["--teacher_model_name_or_path=./none"], "./none: no such folder"),
        (["--loss=bce", "--teacher_model_name_or_path=x"], "needs a loss with a divergence"),
        (["--teacher_logits_column=none"], "no column 'none' for the teacher's logits"),
        (["--teacher_logits_column=a", "--teacher_model_name_or_path=b"], "got both"),
        (["--keep_layers=0"], "keep_layers: expected 1 or more"),
        (["--keep_layers=9"], "keep_layers: expected 1 to"),
        (["--use_peft=true", "--peft_save=adapter", "--keep_layers=1"], "keep_layers leaves"),
        (["--weight_column=none"], "no column 'none' for the weights"),
        (["--weight_column=a", "--loss=two_way"], "weight_column: loss two_way compares"),
    ],
)  # fmt: skip
def test_invalid_setting_is_one_line_before_training(
    options: list[str],
    message: str,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_refused([*command, *options], tmp_path / "out", message, capsys)


def test_teacher_with_other_labels_or_without_probabilities_is_refused(
    run: Run, rows_file: Path
) -> None:
    text = rows_file.read_text().replace("red", "pink").replace("blue", "navy")
    other = rows_file.with_name("other.jsonl")
    other.write_text(text)
    teacher, _ = run("other", f"--train_file={other}", "--num_train_epochs=1")
    with pytest.raises(InputError, match=r"its labels \(3: green, navy, pink\) are not those"):
        run("a", f"--teacher_model_name_or_path={teacher}")
    ranker, _ = run("ranker", "--loss=lsep", "--num_train_epochs=1")
    with pytest.raises(InputError, match="trained with zlpr, bce, got loss lsep"):
        run("b", f"--teacher_model_name_or_path={ranker}")


def test_thousands_of_label_sets_are_refused(run: Run, tmp_path: Path) -> None:
    names = [f"label{i}" for i in range(12)]
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for code in range(1, 4096):
            labels = [name for i, name in enumerate(names) if code >> i & 1]
            file.write(json.dumps({"text": f"red sky {code}", "labels": labels}) + "\n")
    with pytest.raises(InputError, match=r"expected 2 to 2,000 different sets .*, got 2,7\d\d"):
        run("many", f"--train_file={path}", "--loss=powerset")
