"""Options that a model remembers: defaults for other data, and contradictions."""

import json
import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.runs import FAST, run
from zlpr_hf.cli.main import main
from zlpr_hf.cli.remembered import read_remembered, use_remembered
from zlpr_hf.workflows.data_arguments import DataArguments, reading_options

DEFAULTS = {
    "text_column": "text", "text_pair_column": None, "label_column": "labels",
    "label_columns": None, "label_form": "auto", "label_delimiter": None,
}  # fmt: skip
TRAINED = {"text_column": "review", "label_column": "tags", "label_delimiter": "|"}


def resolve(remembered: dict[str, Any], columns: list[str] | None, **given: Any) -> dict[str, Any]:
    """Return the options that are not defaults."""
    options = Namespace(**(DEFAULTS | given))
    use_remembered(options, remembered, given=set(given), columns=columns, origin="new.csv")
    return {name: value for name, value in vars(options).items() if value != DEFAULTS[name]}


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        (["review", "tags"], {}, TRAINED),
        (None, {}, TRAINED),
        (["text", "labels"], {}, {"label_delimiter": "|"}),
        (["text", "labels", "review", "tags"], {}, TRAINED),
        (["body", "tags"], {}, TRAINED),  # the error names the column of the training
        (["body", "tags"], {"text_column": "body"}, TRAINED | {"text_column": "body"}),
        (["review", "tags"], {"label_delimiter": ","}, TRAINED | {"label_delimiter": ","}),
        (
            ["review", "tags"],
            {"label_form": "names"},
            {"text_column": "review", "label_column": "tags", "label_form": "names"},
        ),
        (
            ["review", "a", "b"],
            {"label_columns": ["a", "b"]},
            {"text_column": "review", "label_columns": ["a", "b"]},
        ),
    ],
)
def test_options_that_are_not_given_are_those_of_the_training(
    columns: list[str] | None, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert resolve(TRAINED, columns, **given) == expected


def test_label_columns_and_pairs(caplog: pytest.LogCaptureFixture) -> None:
    trained = {"text_column": "q", "text_pair_column": "a", "label_columns": ["x", "y"]}
    assert resolve(trained, ["q", "a", "x", "y"]) == trained
    caplog.clear()
    assert resolve(trained, ["q", "x", "labels"]) == {"text_column": "q", "label_columns": ["x"]}
    assert ["'a'" in line for line in caplog.messages] == [True, False, False]
    assert "no columns y" in caplog.messages[1]
    assert resolve(trained, ["q", "a", "labels"], label_column="labels") == {
        "text_column": "q",
        "text_pair_column": "a",
    }


@pytest.mark.parametrize(
    ("columns", "given", "contradicts"),
    [
        (["review", "title"], {"text_column": "title"}, True),
        (["title"], {"text_column": "title"}, False),
        (["review"], {"text_column": "review"}, False),
        (["review", "tags"], {"label_delimiter": ";"}, True),
        (["review", "tags"], {"label_delimiter": "|"}, False),
    ],
)
def test_contradictions_are_one_line(
    columns: list[str], given: dict[str, Any], contradicts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    resolve(TRAINED, columns, **given)
    found = [line for line in caplog.messages if "contradicts" in line]
    assert len(found) == contradicts
    assert all(next(iter(given)) in line for line in found)


def test_recorded_options() -> None:
    assert reading_options(DataArguments()) == {"text_column": "text", "label_column": "labels"}
    arguments = DataArguments(
        text_column="a", label_columns=["x", "y"], missing_labels="no_label", join_rows=False
    )
    assert reading_options(arguments) == {
        "text_column": "a",
        "label_columns": ["x", "y"],
        "missing_labels": "no_label",
        "join_rows": False,
    }


@pytest.fixture(scope="module")
def pair_model(
    colour_rows: list[dict[str, Any]], encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{"q": "the", "a": row["text"], "colours": row["labels"]} for row in colour_rows]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [f"--model_name_or_path={encoder_dir}", f"--train_file={data}", *FAST]
    options += ["--text_column=q", "--text_pair_column=a", "--label_column=colours"]
    run([*options, "--join_rows=false", "--max_steps=2", "--save_steps=1"], folder / "model")
    return folder / "model"


def test_checkpoints_and_models_remember(pair_model: Path) -> None:
    expected = {"text_column": "q", "text_pair_column": "a", "label_column": "colours",
                "join_rows": False}  # fmt: skip
    assert read_remembered(str(pair_model), None) == expected
    (checkpoint,) = pair_model.glob("checkpoint-2")
    assert read_remembered(str(checkpoint), None) == expected


def test_predict_reads_the_columns_of_the_training(
    pair_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "new.csv"
    data.write_text("a,q,text\nred sky,the,other\n")
    given = ["--text_column=q", "--text_pair_column=a"]
    found = []
    for number, options in enumerate(([], given)):
        output = tmp_path / f"{number}.jsonl"
        argv = ["predict", str(pair_model), f"--input={data}", f"--output={output}", "--logits"]
        assert main([*argv, *options]) == 0
        found.append(output.read_text())
    assert found[0] == found[1]
    data.write_text("b,c\nred sky,the\n")
    assert main(["predict", str(pair_model), f"--input={data}"]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "'q'" in error
    assert "--text_column" in error


def test_bare_lines_are_read_without_the_columns_of_the_training(
    pair_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    data, output = tmp_path / "lines.txt", tmp_path / "out.jsonl"
    data.write_text("red sky\n")
    assert main(["predict", str(pair_model), f"--input={data}", f"--output={output}"]) == 0
    assert json.loads(output.read_text())["text"] == "red sky"
    assert any("pairs" in line for line in caplog.messages)
