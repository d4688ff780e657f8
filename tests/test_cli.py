"""The command line as a whole: every command has help with an example, errors are one line."""

import re

import pytest

from zlpr_hf.cli import COMMANDS, main


def test_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comprae"]) == 2
    assert capsys.readouterr().err.startswith("error: expected one of train, tune, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert re.search(r"^example: (zlpr|python train\.py) ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no_such_option"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
