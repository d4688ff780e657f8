"""Options of the commands: errors in one line, no abbreviations, an example in every help."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from zlpr_hf.choices import Backend, HelpFormatter, LongTexts, Quoting
from zlpr_hf.distributed import announce_loading, is_main_process
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.models.local_models import check_local_model, list_local_models

if TYPE_CHECKING:
    from zlpr_hf.data.row_file import FileOptions
    from zlpr_hf.inference.classifier import Classifier


def without_token(words: Sequence[str]) -> list[str]:
    """Return a command line without the token for the Hub, to print it."""
    return without_options(words, "--hub_token")


def without_options(words: Sequence[str], *names: str) -> list[str]:
    """Return a command line without some options and their values.

    Example:
        >>> without_options(["--seed", "1", "--hub_token", "hf_secret"], "--hub_token")
        ['--seed', '1']
    """
    kept: list[str] = []
    in_option = False
    for word in words:
        if word.startswith("--"):
            in_option = word.partition("=")[0] in names
        if not in_option:
            kept.append(word)
        in_option = in_option and word in names  # its value is the next word, if that is none
    return kept


def resume_command(command: str, words: Sequence[str]) -> list[str]:
    """Return the arguments that resume a command instead of replacing its output.

    Example:
        >>> resume_command("train", ["config.yaml", "--overwrite_output_dir", "true"])
        ['config.yaml', '--resume_from_checkpoint', 'true']
    """
    words = without_token(words)
    if command == "train":
        words = without_options(words, "--overwrite_output_dir", "--resume_from_checkpoint")
        return [*words, "--resume_from_checkpoint", "true"]
    return [word for word in words if command != "predict" or word != "--overwrite"]


def bool_type(word: str) -> bool:
    """Convert an option to true or false."""
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {word!r}")
    return word.lower() == "true"


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


MODEL_ARGUMENTS = ("model", "folder")
"""Positional arguments that name a trained model."""
SHARED_OPTIONS: dict[str, dict[str, Any]] = {
    "column_names": {"nargs": "+", "help": "columns of a CSV or TSV file without a header"},
    "quoting": {
        "default": "auto",
        "choices": get_args(Quoting),
        "help": "quotes in CSV and TSV files: csv, escaped by backslash, none: part of the text",
    },
    "text_column": {"default": "text", "help": "column of the text"},
    "text_pair_column": {"help": "column of the second text, for pairs of texts"},
    "long_texts": {
        "choices": get_args(LongTexts),
        "help": "long texts: cut as in training, or mean or maximum of the logits of all windows "
        "(default: as training chose on its validation split)",
    },
    "batch_size": {"type": count_type(1), "default": 32, "help": "texts per batch"},
    "backend": {
        "default": "auto",
        "choices": get_args(Backend),
        "help": "library that runs the model",
    },
    "revision": {"help": "branch, tag or commit of a model on the Hub"},
    "trust_remote_code": {"action": "store_true", "help": "run code that comes with the model"},
}
"""Options that mean the same in several commands."""


def add_shared(group: argparse._ActionsContainer, *names: str) -> None:
    """Add options of :data:`SHARED_OPTIONS` to a parser or a group of options."""
    for name in names:
        group.add_argument(f"--{name}", **SHARED_OPTIONS[name])


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Add ``--recipes``, which ``zlpr`` itself carries out, to the help of a command."""
    parser.add_argument("--recipes", action="store_true", help="list the recipes and stop")


def file_options(options: argparse.Namespace, needed: frozenset[str] | None = None) -> FileOptions:
    """Return how to read files, as the options of a command say; ``needed`` columns are used."""
    from zlpr_hf.data.row_file import FileOptions

    return FileOptions(tuple(options.column_names or ()), options.quoting, needed)


def load_classifier(options: argparse.Namespace) -> Classifier:
    """Load the model of a command; call this after all checks that need neither model nor torch."""
    announce_loading()
    from zlpr_hf.inference.classifier import Classifier  # loads torch, which takes seconds

    classifier = Classifier.load(
        options.model,
        backend=options.backend,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    _warn_of_another_rule(classifier, getattr(options, "long_texts", None))
    return classifier


def _warn_of_another_rule(classifier: Classifier, long_texts: str | None) -> None:
    """Say that long texts are read otherwise than when the model was evaluated."""
    stored = classifier.stored_long_texts
    if None not in (stored, long_texts) and stored != long_texts and is_main_process():
        print(
            f"--long_texts {long_texts}: the model was evaluated with {stored}, so its metrics do "
            "not hold for long texts",
            file=sys.stderr,
        )


def _as_positional(option: str, words: Sequence[str]) -> list[str]:
    """Return the words with the value of an option in front of all others.

    Example:
        >>> _as_positional("--model", ["--top_k", "3", "--model", "out/a"])
        ['out/a', '--top_k', '3']
    """
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == option and (equals or place + 1 < len(words)):
            rest = words[place + (1 if equals else 2) :]
            return [value if equals else words[place + 1], *words[:place], *rest]
    return list(words)


class CommandParser(argparse.ArgumentParser):
    """Raises errors as a one-line :class:`InputError`, and ends its help with an example."""

    def __init__(self, prog: str, *, description: str, example: str) -> None:
        super().__init__(
            prog,
            description=description,
            epilog=f"example: {example}",
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, known = unknown[0].partition("=")[0], self._option_string_actions
            # As after zlpr predict, people write a file behind the model.
            if not name.startswith("-") and getattr(options, "dataset", "") is None:
                words = shlex.join(["--dataset", unknown[0]])
                self.error(f"expected an option, got {unknown[0]!r}; labelled texts: {words}")
            longer = [option for option in known if option.startswith(name)]
            hint = suggest(name, longer or known)
            self.error(f"unknown option {unknown[0]!r}{hint}")
        for name in MODEL_ARGUMENTS:
            if hasattr(options, name):
                check_local_model(str(getattr(options, name)))
        return options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse options; ``--model NAME`` of other tools is the positional model here.

        Texts may stand after options.
        """
        if args is not None and any(
            action.dest == "model" for action in self._positionals._actions
        ):
            args = _as_positional("--model", args)
        options, unknown = super().parse_known_args(args, namespace)
        if isinstance(getattr(options, "texts", None), list):
            options.texts += [word for word in unknown if not word.startswith("-")]
            unknown = [word for word in unknown if word.startswith("-")]
        return options, unknown

    def find_given(self, args: Sequence[str]) -> set[str]:
        """Return the names of the options that a valid command line sets."""
        unset, names = object(), [action.dest for action in self._actions]
        found, _ = self.parse_known_args(
            list(args), argparse.Namespace(**dict.fromkeys(names, unset))
        )
        return {name for name in names if getattr(found, name) is not unset}

    def error(self, message: str) -> NoReturn:
        missing = message.partition("arguments are required: ")[2].split(", ")
        if missing[0] in MODEL_ARGUMENTS:
            rest = " ".join(missing).upper()
            raise InputError(f"name a model: {self.prog} {rest}{list_local_models()}")
        raise InputError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")
