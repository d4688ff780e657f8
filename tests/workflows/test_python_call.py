"""finetune as people call it: options by name, rows in memory, objects in any order."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from zlpr_hf import (
    DataArguments,
    InputError,
    ModelArguments,
    ZLPRTrainingArguments,
    finetune,
)
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.sources import Source
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.python_call import config_from_options, read_call

ROWS = pd.DataFrame(
    {
        "text": [f"{text} {number}" for number in range(10) for text in ("a", "b", "c")],
        "labels": [["x"], ["y"], ["x", "y"]] * 10,
    }
)


def read(given: list[Any], **options: Any) -> tuple[RunConfig, LabelledData]:
    """Read rows in memory as a call does."""
    config, source = read_call(given, None, options)
    assert isinstance(source, Source)
    return config, load_data(config.data, source=source)


def test_options_are_those_of_the_command() -> None:
    words = ["--train_file=a.csv", "--learning_rate=1e-3", "--label_columns", "x", "y",
             "--model_name_or_path=m", "--bf16=False", "--output_dir=out"]  # fmt: skip
    options = {"train_file": Path("a.csv"), "lr": 1e-3, "label_columns": ("x", "y"), "model": "m",
               "bf16": False, "output_dir": "out", "text_pair_column": None}  # fmt: skip
    expected, found = parse_arguments(words), config_from_options(options)
    assert (found.model, found.data) == (expected.model, expected.data)
    assert found.training.to_dict() == expected.training.to_dict()


def test_objects_come_in_any_order_or_by_name() -> None:
    model, data = ModelArguments(model_name_or_path="m"), DataArguments(train_file="a.csv")
    training = ZLPRTrainingArguments(output_dir="out")
    for given, named in [
        ((model, data, training), {}),
        ((training, model, data), {}),
        ((), {"data_args": data, "training_args": training, "model_args": model}),
    ]:
        config, rows = read_call(given, None, named)
        assert (config.model, config.data, config.training) == (model, data, training)
        assert rows is None


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (ROWS, {}),
        (ROWS.to_dict("list"), {}),
        (ROWS.to_dict("records"), {}),
        (Dataset.from_pandas(ROWS), {}),
        (DatasetDict({"train": Dataset.from_pandas(ROWS)}), {}),
        (ROWS.rename(columns={"labels": "label"}), {}),
        (ROWS.assign(labels=ROWS["labels"].map(";".join)), {"label_delimiter": ";"}),
        (ROWS.assign(labels=ROWS["labels"].map(set), other=[object()] * 30), {}),
        (
            ROWS.rename(columns={"text": "body"}).assign(
                x=[int("x" in row) for row in ROWS["labels"]],
                y=[int("y" in row) for row in ROWS["labels"]],
            ),
            {"text_column": "body", "label_columns": ["x", "y"]},
        ),
    ],
)
def test_rows_in_memory_are_read(rows: Any, options: dict[str, Any]) -> None:
    _, expected = read([ROWS])
    _, found = read([rows], **options)
    assert found.label_space == expected.label_space
    for split in ("train", "validation", "test"):
        assert found.texts(split) == expected.texts(split)
        assert (found.targets(split) == expected.targets(split)).all()


def test_columns_and_form_are_found_in_the_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "stars": range(30),
            "body": [f"A long sentence about the {text}, and more." for text in ROWS["text"]],
            "tags": ROWS["labels"].map(";".join),
        }
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    config, data = read([frame], epochs=2)
    assert data.label_space.names == ("x", "y")
    assert (config.data.text_column, config.data.label_column) == ("body", "tags")
    for given, named in [
        ([tmp_path / "rows.csv"], {}),
        ([], {"train_file": tmp_path / "rows.csv"}),
    ]:
        config, _ = read_call(given, None, named)
        assert (config.data.text_column, config.data.label_column) == ("body", "tags")
        assert config.data.label_delimiter == ";"


def test_given_splits_are_kept() -> None:
    splits = {"train": ROWS[:20], "valid": ROWS[20:25], "test": ROWS[25:]}
    _, data = read([splits])
    assert [len(data.splits[name]) for name in ("train", "validation", "test")] == [20, 5, 5]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([ROWS], {"train_file": "a.csv"}, "expected no train_file"),
        ([ROWS, ROWS], {}, "got several"),
        ([ROWS], {"learning_rat": 1.0}, 'unknown option .*learning_rate"'),
        ([ROWS], {"text_column": "body"}, "no column 'body'"),
        ([DataArguments()], {"epochs": 1}, "got both"),
        ([DataArguments(), DataArguments()], {}, "got two"),
        ([3], {}, "expected a data frame"),
        ([ROWS[:0]], {}, "no rows"),
        ([[{"text": "a"}, "b"]], {}, "row 2: expected a dictionary"),
        ([{"text": ["a", "b"], "labels": [["x"]]}], {}, "one length"),
        ([ROWS.assign(labels=["x", 1, 2.5] * 10)], {}, "column 'labels': expected one type"),
    ],
)
def test_wrong_calls_end_in_one_line(
    given: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        finetune(*given, **options)


def test_a_frame_trains_like_a_file(encoder_dir: Path, tmp_path: Path) -> None:
    options = {
        "model": encoder_dir, "epochs": 1, "lr": 1e-3, "pooling": "mean", "max_length": 8,
        "bf16": False, "folds": 0, "log": lambda text: None,
    }  # fmt: skip
    ROWS.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    frame = finetune(ROWS, **options, output_dir=tmp_path / "frame")
    file = finetune(tmp_path / "rows.jsonl", **options, output_dir=tmp_path / "file")
    assert frame.test == file.test
    words = [f"--{name}={value}" for name, value in options.items() if name != "log"]
    config = parse_arguments(
        [*words, f"--train_file={tmp_path / 'rows.jsonl'}", f"--output_dir={tmp_path / 'command'}"]
    )
    assert finetune_config(config, log=lambda text: None).test == file.test
