"""Options of the commands: errors in one line, no abbreviations, an example in every help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from zlpr_hf.errors import InputError, suggest


def without_token(words: Sequence[str]) -> list[str]:
    """Return a command line without the token for the Hub, to print it.

    Example:
        >>> without_token(["--seed", "1", "--hub_token", "hf_secret"])
        ['--seed', '1']
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--hub_token":
            next(rest, None)
        elif not word.startswith("--hub_token="):
            kept.append(word)
    return kept


def resume_command(command: str, words: Sequence[str]) -> list[str]:
    """Return the arguments that resume a command instead of replacing its output.

    Example:
        >>> resume_command("train", ["config.yaml"])
        ['config.yaml', '--resume_from_checkpoint', 'true']
    """
    words = without_token(words)
    if command == "train":
        return [*words, "--resume_from_checkpoint", "true"]
    return [word for word in words if command != "predict" or word != "--overwrite"]


def share_type(word: str) -> float:
    """Convert an option to a number from 0 to 1."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {word!r}")
    return value


def count_type(least: int) -> Callable[[str], int]:
    """Return a function that converts an option to a whole number of at least ``least``."""

    def convert(word: str) -> int:
        if not word.isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, got {word!r}"
            )
        return int(word)

    return convert


def add_loading_options(group: argparse._ActionsContainer) -> None:
    """Add the options for models on the Hub to a parser or a group of options."""
    group.add_argument("--revision", help="branch, tag or commit of a model on the Hub")
    group.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with the model"
    )


class CommandParser(argparse.ArgumentParser):
    """Raises errors as a one-line :class:`InputError`, and ends its help with an example."""

    def __init__(self, prog: str, *, description: str, example: str) -> None:
        super().__init__(
            prog,
            description=description,
            epilog=f"example: {example}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, known = unknown[0].partition("=")[0], self._option_string_actions
            longer = [option for option in known if option.startswith(name)]
            hint = suggest(name, longer or known)
            self.error(f"unknown option {unknown[0]!r}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")
