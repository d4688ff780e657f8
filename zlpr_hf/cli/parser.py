"""How the commands read their options: errors in one line, no abbreviations, an example."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from zlpr_hf.errors import InputError


def without_token(words: Sequence[str]) -> list[str]:
    """A command line as it may be shown: without the token for the Hub, which is asked for again.

    Args:
        words: The arguments.

    Returns:
        Those that are no secret.

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
    """The arguments with which a command goes on after it was cut off.

    Args:
        command: Its name.
        words: Those that it was called with.

    Returns:
        Those to call it with again: what is there must be gone on from, and not be replaced.

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
    """What is to be said about a model on the Hub.

    Args:
        group: A parser, or a group of its options.
    """
    group.add_argument("--revision", help="branch, tag or commit of a model on the Hub")
    group.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with the model"
    )


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are an :class:`InputError` of one line.

    Args:
        prog: The command, such as ``zlpr predict``.
        description: What it does.
        example: One line to copy.
    """

    def __init__(self, prog: str, *, description: str, example: str) -> None:
        super().__init__(
            prog,
            description=description,
            epilog=f"example: {example}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        plain = re.sub(r"^argument (-\S+?)(/-\S+)*:", r"\1:", message)
        raise InputError(f"{plain} (see {self.prog} --help){self._what_is_meant(message)}")

    def _what_is_meant(self, message: str) -> str:
        """The nearest option to the first one that is unknown."""
        unknown = re.match(r"unrecognized arguments: (--\w+)", message)
        if unknown is None:
            return ""
        known = self._option_string_actions
        longer = [option for option in known if option.startswith(unknown.group(1))]
        near = longer or difflib.get_close_matches(unknown.group(1), known, n=1)
        return f"; did you mean {near[0]}?" if near else ""
