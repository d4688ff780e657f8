"""YAML and command line: one conversion, one check, the command line wins."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from zlpr_hf import InputError
from zlpr_hf.workflows.arguments import ARGUMENTS, OPTION_ALIASES, parse_arguments, save_config

REPOSITORY = Path(__file__).parents[2]


def config(tmp_path: Path, text: str) -> str:
    (tmp_path / "c.yaml").write_text(text)
    return str(tmp_path / "c.yaml")


def test_command_line_wins_and_scientific_notation_is_a_number(tmp_path: Path) -> None:
    text = "learning_rate: 1e-4\nseed: 3\nlabel_columns: [a, b]\nbf16: false\neval_strategy: no\n"
    path = config(tmp_path, text)
    parsed = parse_arguments([path, "--seed", "5"])
    data, training = parsed.data, parsed.training
    assert training.learning_rate == 1e-4
    assert training.head_learning_rate == pytest.approx(1e-3)
    assert training.seed == 5
    assert training.bf16 is False
    assert training.eval_strategy == "no"
    assert data.label_columns == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learnin_rate: 1\n",
            r"c\.yaml: unknown option 'learnin_rate'; did you mean learning_rate\?",
        ),
        ("- a\n", "expected lines of 'name: value'"),
        ("a: [\n", "not a YAML file"),
        ("max_length: long\n", "--max_length: invalid int value: 'long'"),
        ("eval_strategy: sometimes\n", "eval_strategy: invalid"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_arguments([config(tmp_path, text)])
    assert "\n" not in str(caught.value)


def test_missing_file_and_abbreviation() -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        parse_arguments(["none.yaml"])
    with pytest.raises(InputError, match="unknown option 'learning'"):
        parse_arguments(["--learning", "1"])


def test_saved_configuration_is_the_effective_one(tmp_path: Path) -> None:
    path = config(tmp_path, "learning_rate: 1e-4\nlabel_columns: [a, b]\nlabel_delimiter: ';'\n")
    first = parse_arguments([path, "--seed", "7", "--eval_strategy", "epoch"])
    save_config(tmp_path / "saved.yaml", first)
    again = parse_arguments([str(tmp_path / "saved.yaml")])
    assert (first.model, first.data) == (again.model, again.data)
    for name in ("learning_rate", "seed", "eval_strategy", "head_learning_rate", "bf16"):
        assert getattr(first.training, name) == getattr(again.training, name)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda p: p.name
)
def test_recipes_parse_and_say_what_they_are(path: Path) -> None:
    parse_arguments([str(path), "--bf16", "false"])
    assert path.read_text().startswith("# ")


def test_help_is_grouped() -> None:
    answer = subprocess.run(
        [sys.executable, "train.py", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for heading in (
        "model:",
        "data:",
        "training (of transformers' TrainingArguments):",
        "example:",
    ):
        assert heading in answer
    assert (
        answer.index("--pooling") < answer.index("--dataset_name") < answer.index("--learning_rate")
    )
    words = " ".join(answer.split())
    assert "longer texts are cut. (default: 128)" in words
    assert "(default: None)" not in words
    assert (
        "little padding), or batch_rebalance (evens them out across processes). (default: random)"
        in words
    )


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--lr=1", "did you mean learning_rate?"),
        ("--batch_size=8", "did you mean per_device_train_batch_size?"),
        ("--epochs=3", "did you mean num_train_epochs?"),
        ("--device=cuda", "did you mean use_cpu?"),
        (__file__, "a data file is given as --train_file"),
    ],
)
def test_options_as_other_tools_call_them(word: str, hint: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_arguments(["--output_dir=out", word])
    assert str(refusal.value).endswith(hint)


def test_other_names_are_of_options_that_there_are() -> None:
    names = {spec.name for kind in ARGUMENTS for spec in dataclasses.fields(kind)}
    assert set(OPTION_ALIASES.values()) <= names
    assert not set(OPTION_ALIASES) & names


def test_a_name_of_any_length_is_no_option() -> None:
    """Longer than a file may be called, which is where it is looked for."""
    with pytest.raises(InputError, match="unknown option 'xxx"):
        parse_arguments(["--" + "x" * 5000, "1"])
