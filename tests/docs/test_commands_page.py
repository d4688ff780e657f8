"""docs/commands.md has every command, and options that exist."""

import re

import pytest

from tests.command_lines import REPOSITORY, options_of
from zlpr_hf.cli.main import COMMANDS

SECTIONS = dict(
    re.findall(
        r"^## `zlpr (\w+)`\n(.*?)(?=^## |\Z)",
        (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


def test_every_command_has_its_section() -> None:
    assert list(SECTIONS) == list(COMMANDS)


@pytest.mark.parametrize("command", SECTIONS)
def test_options_are_those_of_the_command(command: str) -> None:
    ours = re.sub(r"torchrun .*? predict", "", SECTIONS[command])
    named = set(re.findall(r"--\w+", ours))
    assert named <= options_of(command)
    assert f"zlpr {command} " in ours
