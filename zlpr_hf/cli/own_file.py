"""``zlpr train FILE``: options that the file itself answers, found before torch is loaded."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zlpr_hf.cli.data_names import has_data_suffix, near_files, stem_of
from zlpr_hf.cli.parser import without_token
from zlpr_hf.cli.stray_words import move_data_first
from zlpr_hf.data.column_guess import Guess, guess_columns
from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.sample_rows import SampleRows, read_folder_sample, read_sample
from zlpr_hf.errors import InputError
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.models.local_models import OUTPUT_FOLDER
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.recipes import find_recipe, is_recipe

CONFIG_SUFFIXES = (".yaml", ".yml")


def complete_options(argv: list[str], program: Sequence[str]) -> tuple[list[str], str]:
    """Return ``[FILE or CONFIG] [--name value ...]`` with the data as options, and the reading.

    A data file or a data set in the first place becomes an option, and so do columns and form of
    the labels that a file shows by its first rows. A configuration that names its data is complete
    and stays as it is. The reading in words is empty if nothing was found.

    Raises:
        InputError: If the file is missing or wrong, or leaves open how it is read.
    """
    argv = move_data_first(argv)
    words, config = _name_data(argv)
    given = _read_given(words)
    stored: dict[str, Any] = {} if config is None else _read_config(config)
    if {"train_file", "dataset_name"} & stored.keys() - given.keys():
        return words, ""
    values = stored | given
    name = values.get("train_file") or values.get("dataset_name")
    if name is None:
        return words, ""
    if "output_dir" not in values:
        words = [*words, "--output_dir", str(Path(OUTPUT_FOLDER) / stem_of(str(name)))]
    guess = _guess(values, shlex.join([*program, *without_token(argv)]))
    if guess is None:
        return words, ""
    is_new = bool(guess.options) or argv[0] != words[0]
    return [*words, *_as_words(guess.options)], guess.render() if is_new else ""


def _name_data(argv: list[str]) -> tuple[list[str], Path | None]:
    """Return the command line with the data in the first place as an option, and the recipe."""
    if not argv or argv[0].startswith("-"):
        return argv, None
    first, *rest = argv
    path = Path(first).expanduser()
    is_data = path.exists() or has_data_suffix(first)
    is_corpus = first in CORPORA and not is_recipe(first)  # the recipe says which part to train on
    is_data_set = path.is_dir() or (not is_data and (is_corpus or is_hub_id(first)))
    if path.suffix.lower() in CONFIG_SUFFIXES or not (is_data or is_data_set):
        return argv, find_recipe(first)
    given = _read_given(rest)
    for name in ("train_file", "dataset_name"):
        if name in given:
            raise InputError(f"{first}: the data is named twice, also by --{name} {given[name]}")
    if is_data_set:
        return [f"--dataset_name={first}", *rest], None
    if not path.exists():
        raise InputError(f"{first}: no such file{near_files(first)}")
    return [f"--train_file={first}", *rest], None


def is_hub_id(name: str) -> bool:
    """Whether a name may be an id on the Hub: its owner is not a local folder."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).parent.exists()


def _read_given(words: list[str]) -> dict[str, Any]:
    """Return the options of a command line that concern the data, and the output folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for spec in dataclasses.fields(DataArguments):
        names = (f"--{spec.name}", f"--{spec.name.replace('_', '-')}")
        how: dict[str, Any] = {"nargs": "+"} if "list" in str(spec.type) else {}
        if "bool" in str(spec.type):
            how = {"nargs": "?", "const": True, "type": _read_flag}
        parser.add_argument(*dict.fromkeys(names), default=argparse.SUPPRESS, **how)
    parser.add_argument("--output_dir", "--output-dir", default=argparse.SUPPRESS)
    try:
        return vars(parser.parse_known_args(words)[0])
    except argparse.ArgumentError as error:
        raise InputError(f"{error.argument_name}: {error.message} (see --help)") from error


def _read_flag(word: str) -> bool | str:
    """Return the value of true and false; parsing all options reports other words."""
    return {"true": True, "false": False}.get(word.lower(), word)


def _read_config(path: Path) -> dict[str, Any]:
    return read_yaml_mapping(path, "expected lines of 'name: value'")


def _guess(values: Mapping[str, Any], command: str) -> Guess | None:
    """Return the guess from the first rows of the data, None if only loading it shows them."""
    options = FileOptions(tuple(values.get("column_names") or ()), values.get("quoting", "auto"))
    name = str(values.get("train_file") or values.get("dataset_name"))
    if "train_file" in values:
        sample: SampleRows | None = read_sample(name, options)
    else:
        folder = Path(name).expanduser()
        sample = read_folder_sample(folder, options) if folder.is_dir() else None
    if sample is None:
        return None
    labels = values.get("labels_file")
    labels_sample = None if labels is None else read_sample(str(labels), options)
    found = guess_columns(sample, values, command=command, labels_sample=labels_sample)
    quoting = sample.options.quoting
    if quoting != options.quoting:
        found.options["quoting"] = quoting
    return found


def _as_words(options: Mapping[str, Any]) -> list[str]:
    """Return options that are not the defaults as words of a command line."""
    defaults = DataArguments()
    words: list[str] = []
    for name, value in options.items():
        if value == getattr(defaults, name):
            continue
        if isinstance(value, list):
            words += [f"--{name}", *value]
        else:
            words.append(f"--{name}={str(value).lower() if value is True else value}")
    return words
