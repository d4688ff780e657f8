"""The command line as a whole: every command has help with an example, errors are one line."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from zlpr_hf.cli.main import COMMANDS, main


def test_usage_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comprae"]) == 2
    assert capsys.readouterr().err.startswith("error: expected one of train, tune, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([command, "--help"])
    except SystemExit as end:
        status = end.code
    assert status == 0
    assert re.search(r"^example: (zlpr|python train\.py) ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no_such_option"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", ["evaluate", "guarantee"])
def test_file_behind_the_model_names_its_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "model", "new.csv"]) == 2
    assert "--dataset new.csv" in capsys.readouterr().err


def test_misspelled_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predit"]) == 2
    assert capsys.readouterr().err.endswith('Did you mean "predict"?\n')


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zlpr_hf {version('zlpr_hf')}\n"


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zlpr_hf.cli.push.run", lambda argv, program: torch.empty(2**60))
    assert main(["push"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: zlpr push: out of memory (")
    assert "a smaller batch" in line


def test_loading_is_announced_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--weight_decay=x"]  # an option that the quick check does not know
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(argv) == 2
    assert "loading" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("loading torch and transformers ...\nerror: ")


def test_model_of_other_tools_is_the_positional_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--input=nowhere.csv", "--model", "nowhere/at/all"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["evaluate", "--model=nowhere/at/all", "--split=test"]) == 2
    assert "nowhere/at/all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "hint"),
    [("--text", '"--text_column"'), ("--treshold", '"--threshold"')],
)
def test_misspelled_option_gets_a_suggestion(
    option: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "model", option, "x"]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("saved", [False, True])
def test_interrupted_training_says_one_thing(
    saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint-5" if saved else None
    monkeypatch.setattr("zlpr_hf.workflows.finetune.finetune_config", interrupted)
    monkeypatch.setattr(
        "zlpr_hf.workflows.output_dir.find_resume_checkpoint", lambda *_, **__: checkpoint
    )
    assert main(["train", f"--output_dir={tmp_path / 'run'}", "--seed", "3"]) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ("--seed 3 --resume_from_checkpoint true" in line) is saved
    assert ("checkpoint-5" in line) is saved
    assert line.startswith("interrupted")


def test_interrupted_evaluation_has_nothing_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zlpr_hf.cli.evaluate.run", interrupted)
    assert main(["evaluate", "model"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
