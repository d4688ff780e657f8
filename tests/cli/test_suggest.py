"""``zlpr suggest``: from a trained model and a pool to a file that can be trained on."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.runs import FAST, run
from zlpr_hf.cli.main import main
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.workflows.arguments import parse_arguments

NEW = [
    "red sky and the dog", "green sea", "blue  cat sleeps", "=big fish is red", "small bird runs",
    "the sea and the grass",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    run(command, folder, "--baselines=false")
    return folder


@pytest.fixture
def pool(tmp_path: Path, colour_rows: list[dict[str, object]]) -> Path:
    path = tmp_path / "pool.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text"])
        texts = [*(str(row["text"]) for row in colour_rows[:5]), *NEW, "Green SEA", " "]
        writer.writerows(enumerate(texts))
    return path


@pytest.mark.parametrize("strategy", ["cardinality", "gradient", "random"])
def test_suggestions_can_be_trained_on(
    strategy: str, trained: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "next.csv"
    argv = ["suggest", str(trained), str(pool), "--strategy", strategy, "--count", "4"]
    assert main([*argv, "--output_file", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "13 rows, left out: 5 seen in training, 1 repeated, 1 without a text\n" in printed
    assert f"zlpr train {output}" in printed
    with output.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    formulas = any(row["text"].startswith("=") for row in rows)
    assert ("1 texts begin with =, +, - or @" in printed) == formulas
    assert len(rows) == 4
    assert list(rows[0]) == ["text", "labels", "file", "line", "score"]
    model = Classifier.load(trained)
    for row in rows:
        text = row["text"]
        assert text in NEW  # as it is in the pool, so that training and later calls know it
        assert int(row["line"]) == 7 + NEW.index(text)
        assert row["labels"] == ";".join(model.predict([text])[0])


@pytest.mark.parametrize("folds", [True, False])
def test_a_cross_fitted_model_is_trained_anew(
    folds: bool, trained: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its pretrained model, so that the few rows are cross-fitted again."""
    config = parse_arguments([str(trained / "train_config.yaml")])
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    if folds:
        (model / "out_of_fold.npz").touch()
    argv = ["suggest", str(model), str(pool), "--count", "4"]
    assert main([*argv, "--output_file", str(tmp_path / "next.csv")]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.startswith(f"  zlpr train {tmp_path / 'next.csv'} ")
    start = config.model.model_name_or_path if folds else str(model)
    assert command.endswith(shlex.join(["--model_name_or_path", start]))


def test_near_duplicates_are_left_out_and_counted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the blue cat sleeps on the red mat", "The blue cat sleeps on the red mat!", *NEW]
    (tmp_path / "pool.csv").write_text("\n".join(["text", *texts]))
    output = tmp_path / "next.csv"
    argv = ["suggest", str(trained), str(tmp_path / "pool.csv"), "--count", "8"]
    assert main([*argv, "--output_file", str(output)]) == 0
    assert "8 rows, left out: 1 almost equal to a chosen one" in capsys.readouterr().out
    with output.open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 7


def test_the_printed_command_trains(
    trained: Path, pool: Path, tmp_path: Path, colour_rows: list[dict[str, object]]
) -> None:
    output = tmp_path / "next.csv"
    assert main(["suggest", str(trained), str(pool), "--output_file", str(output)]) == 0
    with output.open("a", newline="") as stream:
        for row in colour_rows:
            csv.writer(stream).writerow([row["text"], ";".join(row["labels"]), "", "", ""])  # type: ignore
    argv = [f"--train_file={output}", "--label_delimiter=;", "--missing_labels=no_label", *FAST]
    more = [f"--model_name_or_path={trained}", "--baselines=false", "--num_train_epochs=1"]
    report = run([*argv, *more], tmp_path / "grown")
    assert json.loads((tmp_path / "grown" / "results.json").read_text())
    assert len(report.label_scores) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "best"], "strategy"),
        (["--count", "0"], "count"),
        (["--text_column", "body"], "body"),
        (["--label_delimiter", "e"], "label_delimiter"),
        (["--label_column", "score"], "score"),
        (["--output_file", "no/such/next.csv"], "no such folder"),
    ],
)
def test_wrong_options_write_nothing(
    words: list[str], message: str, trained: Path, pool: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["suggest", str(trained), str(pool), *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["pool.csv"]


def test_an_existing_file_and_a_seen_pool_are_refused(
    trained: Path, tmp_path: Path, colour_rows: list[dict[str, object]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pool, output = tmp_path / "pool.txt", tmp_path / "next.csv"
    pool.write_text("\n".join(str(row["text"]) for row in colour_rows[:9]) + "\n")
    argv = ["suggest", str(trained), str(pool), "--output_file", str(output)]
    assert main(argv) == 2
    assert "the model has seen 9" in capsys.readouterr().err
    output.write_text("mine")
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine"
