"""zlpr train FILE: the data in the first place, its options, and the folder of the run."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runs import FAST
from zlpr_hf.cli.main import main
from zlpr_hf.cli.own_file import complete_options, stem_of
from zlpr_hf.cli.remembered import read_remembered
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.recipes import recipes_folder

FOUND = ["--text_column=Satz", "--label_column=Farben", "--label_delimiter=;"]


@pytest.fixture
def folder(
    colour_rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working directory with a file of colours in columns of unknown names."""
    lines = [f'{i},"{row["text"]}",{";".join(row["labels"])}' for i, row in enumerate(colour_rows)]
    (tmp_path / "colours.csv").write_text("Nr,Satz,Farben\n" + "\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complete(*words: str) -> list[str]:
    return complete_options(list(words), ("zlpr", "train"))[0]


@pytest.mark.usefixtures("folder")
def test_a_file_becomes_options() -> None:
    expected = ["--train_file=colours.csv", "--output_dir", "out/colours", *FOUND]
    words, reading = complete_options(["colours.csv"], ("zlpr", "train"))
    assert words == expected
    assert all(each in reading for each in ("Satz", "Farben", "3 labels", "--label_delimiter"))
    data = parse_arguments(expected).data
    assert (data.text_column, data.label_column, data.label_delimiter) == ("Satz", "Farben", ";")


@pytest.mark.usefixtures("folder")
def test_options_on_the_command_line_come_first() -> None:
    words = complete("colours.csv", "--seed", "3", "--output_dir", "x", "--label-delimiter", ";")
    assert words == ["--train_file=colours.csv", "--seed", "3", "--output_dir", "x",
                     "--label-delimiter", ";", *FOUND[:2]]  # fmt: skip
    assert complete("--train_file", "colours.csv")[2:] == ["--output_dir", "out/colours", *FOUND]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", sorted(path.stem for path in recipes_folder().glob("*.yaml")))
def test_a_recipe_comes_before_a_corpus_of_the_same_name(name: str) -> None:
    assert complete(name) == [name]


@pytest.mark.usefixtures("folder")
def test_the_file_may_stand_after_options() -> None:
    expected = complete("colours.csv", "--seed", "3", "--bf16")
    assert complete("--seed", "3", "--bf16", "colours.csv") == expected
    assert complete("--seed=3", "colours.csv", "--bf16") == complete(
        "colours.csv", "--seed=3", "--bf16"
    )
    assert complete("--lr", "1e-3", "quickstart") == ["quickstart", "--lr", "1e-3"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colours.csv", "--label_column", "Farben", "Nr"], "label_columns"),
        (["--label_column", "Farben", "Nr", "colours.csv"], "label_columns"),
        (["colours.csv", "--text_column", "Satz", "Nr"], "text_pair_column"),
        (["colours.csv", "--seed", "1", "2"], "seed: expected one value, got '2'"),
        (["colours.csv", "other.csv"], "expected one FILE, got 'other.csv'"),
    ],
)
def test_words_without_an_option_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete(*words)


def test_configurations(folder: Path) -> None:
    whole, part = folder / "whole.yaml", folder / "part.yaml"
    whole.write_text("train_file: colours.csv\n")
    part.write_text("seed: 3\nlabel_column: Farben\noutput_dir: x\n")
    assert complete("whole.yaml", "--seed", "1") == ["whole.yaml", "--seed", "1"]
    assert complete("part.yaml") == ["part.yaml"]
    expected = ["part.yaml", "--train_file=colours.csv", FOUND[0], FOUND[2]]
    assert complete("part.yaml", "--train_file=colours.csv") == expected


def test_folders_and_names_of_data_sets(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "colours.csv").rename(folder / "data" / "train.csv")
    assert complete("data") == ["--dataset_name=data", "--output_dir", "out/data", *FOUND]
    assert complete("attack") == ["--dataset_name=attack", "--output_dir", "out/attack"]
    assert complete("owner/name") == ["--dataset_name=owner/name", "--output_dir", "out/name"]
    assert complete("quickstart") == ["quickstart"]  # a recipe
    assert complete("--seed", "1") == ["--seed", "1"]
    assert complete() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colour.csv"], '"colours.csv"'),
        (["nowhere/colours.csv"], "nowhere"),
        (["colours.xlsx"], "no such file"),
        (["colours.csv", "--train_file", "b.csv"], "twice"),
        (["colours.csv", "--text_column", "Text"], "Satz"),
        (["data/colours"], "recipe"),
        (["quickstrat"], "quickstart"),
        (["empty"], "no data files"),
        (["model"], "a model"),
        (["notes.dat"], "unknown file type"),
        (["colours.csv", "--column_names"], "column_names"),
    ],
)
def test_wrong_files_are_one_line(words: list[str], message: str, folder: Path) -> None:
    for name in ("data", "empty", "model"):
        (folder / name).mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "notes.dat").write_text("a,b\n")
    with pytest.raises(InputError, match=message):
        complete(*words)


def test_stems() -> None:
    names = ("a/b.csv", "b.csv.gz", "c.d.jsonl", "data/", "owner/name")
    assert [stem_of(name) for name in names] == ["b", "b", "c.d", "data", "name"]


def test_training_keeps_the_options(
    folder: Path, encoder_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--model_name_or_path={encoder_dir}", *FAST, "--max_steps=4", "--save_steps=4"]
    assert main(["train", "colours.csv", *options]) == 0
    stored = yaml.safe_load((folder / "out" / "colours" / "train_config.yaml").read_text())
    expected = {"text_column": "Satz", "label_column": "Farben", "label_delimiter": ";"}
    assert {name: stored[name] for name in expected} == expected
    assert stored["train_file"] == "colours.csv"
    assert read_remembered("out/colours", None) == expected
    capsys.readouterr()
    assert main(["train", "colours.csv", *options]) == 2  # the run is there
    error = capsys.readouterr().err
    assert "out/colours" in error
    assert "--overwrite_output_dir" in error
