"""Command lines that are shown to readers, read by the programs' own parsers and never run."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from zlpr_hf.cli.main import COMMANDS
from zlpr_hf.cli.parser import CommandParser
from zlpr_hf.workflows.arguments import ARGUMENTS, parse_arguments

REPOSITORY = Path(__file__).parents[1]
# Programs of others, of which no more is checked than that the page means them.
OTHERS = {
    "cat", "cd", "cp", "curl", "docker", "echo", "export", "git", "head", "hf", "ls", "mkdir",
    "pip-audit", "sed", "source", "tensorboard", "twine", "uv", "wandb",
}  # fmt: skip
TAKES_SETTINGS = ("tune", "compare", "audit")
"""Options that these do not know are settings of ``zlpr train``."""


class _Read(BaseException):
    """Ends a command once its line is read; nothing on the way may catch it."""

    def __init__(self, parser: CommandParser, rest: list[str]) -> None:
        super().__init__()
        self.parser = parser
        self.rest = rest


def _read(command: str, argv: Sequence[str]) -> _Read:
    def read(parser: CommandParser, args: Any = None, namespace: Any = None) -> NoReturn:
        _, rest = argparse.ArgumentParser.parse_known_args(parser, args, namespace)
        raise _Read(parser, rest)

    module = importlib.import_module(f"zlpr_hf.cli.{command}")
    with mock.patch.object(CommandParser, "parse_known_args", read):
        try:
            module.run(list(argv), ("zlpr", command))
        except _Read as found:
            return found
    raise AssertionError(f"zlpr {command} read no options")


def options_of(command: str) -> set[str]:
    """All options of a command of ``zlpr``.

    Args:
        command: A key of ``COMMANDS``.
    """
    settings = {f"--{spec.name}" for kind in ARGUMENTS for spec in dataclasses.fields(kind)}
    if command == "train":
        return settings | {"--recipes"}
    # Required arguments, so that the parser reads the line to its end.
    needed = {
        "compare": ["plan"],
        "tune": ["config", "--trials=1"],
        "push": ["folder", "name"],
        "suggest": ["model", "pool"],
        "start": ["labels", "texts"],
    }
    parser = _read(command, needed.get(command, ["model"])).parser
    options = {option for action in parser._actions for option in action.option_strings}
    return options | (settings if command in TAKES_SETTINGS else set())


def check_line(line: str) -> None:
    """Whether a line of a shell could be run by a reader.

    Args:
        line: One line, its continuations joined.

    Raises:
        AssertionError: If a program, a file of the repository, a target of make or an extra is not
            there.
        InputError: If an option or a value of ours is wrong.
        SystemExit: If one of a launcher is.
    """
    lexer = shlex.shlex(line, posix=False, punctuation_chars="|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for token in [*lexer, "|"]:
        if set(token) <= set("|&"):
            assert words, line
            check_words(words)
            words = []
        else:
            words += shlex.split(token)


def check_words(words: Sequence[str]) -> None:
    """The same for one program and its arguments.

    Args:
        words: The line, split.
    """
    program, *argv = words
    for word in argv:
        name = word.partition("=")[2] or word
        if name.startswith(("configs/", "benchmarks/", "examples/", "results/", "tests/")):
            assert (REPOSITORY / name).exists(), f"{name}: no such file"
    if program == "zlpr":
        _check_command(argv)
    elif program in ("python", "python3"):
        _check_python(argv)
    elif program == "torchrun":
        given = get_args_parser().parse_args(argv)
        module = ["-m"] if given.module else []
        _check_python([*module, given.training_script, *given.training_script_args])
    elif program == "accelerate":
        assert argv[0] == "launch", argv
        given = launch_command_parser().parse_args(argv[1:])
        module = ["-m"] if given.module else []
        _check_python([*module, given.training_script, *given.training_script_args])
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert set(argv) <= set(targets), f"make {' '.join(argv)}: there are {', '.join(targets)}"
    elif program == "pip":
        _check_extras(argv)
    else:
        assert program in OTHERS, f"{program}: not a program that pages use"


def _check_python(argv: Sequence[str]) -> None:
    if argv[:2] == ["-m", "zlpr_hf.cli"]:
        _check_command(argv[2:])
    elif argv[0] == "train.py":
        _check_command(["train", *argv[1:]])
    elif argv[0] == "-m":
        assert importlib.util.find_spec(argv[1]), f"no module {argv[1]}"
        if argv[1].startswith("benchmarks."):
            source = (REPOSITORY / f"{argv[1].replace('.', '/')}.py").read_text()
            for word in argv[2:]:
                assert not word.startswith("--") or f'"{word}"' in source, word
    else:
        assert argv[0] == "-c", argv
        compile(argv[1], "-c", "exec")


def _check_command(argv: Sequence[str]) -> None:
    command, *rest = argv
    if command == "--help":
        return
    assert command in COMMANDS, f"zlpr {command}: there are {', '.join(COMMANDS)}"
    if {"--help", "--recipes"} & set(rest):
        return
    if command != "train":
        rest = _read(command, rest).rest
        assert command in TAKES_SETTINGS or not rest, f"zlpr {command}: unknown {rest}"
    elif rest and Path(rest[0]).suffix and not rest[0].startswith(("-", "configs/")):
        rest = rest[1:]  # a configuration that the reader has, not a recipe
    if command == "train" or rest:
        parse_arguments([*rest, *([] if "--output_dir" in rest else ["--output_dir=out/any"])])


def _check_extras(argv: Sequence[str]) -> None:
    assert argv[0] == "install", argv
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for word in argv[1:]:
        found = re.fullmatch(r"(?:\.|zlpr_hf)\[(.+)\](?: @ \S+)?", word)
        if found:
            unknown = set(found[1].split(",")) - set(project["optional-dependencies"])
            assert not unknown, f"no extra {unknown}"
