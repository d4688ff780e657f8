"""Options of ``zlpr train`` as words of a command line, checked without loading torch."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.recipes import find_recipe

logger = logging.getLogger(__name__)

TEXT_OPTIONS = {
    name
    for kind in (ModelArguments, DataArguments)
    for name, hint in get_type_hints(kind).items()
    if hint in (str, str | None)
}
RENAMED_OPTIONS = {"yardsticks": "baselines"}
"""Old name to new name; old names are accepted for one version."""
ALIASES = {
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
    "max_seq_length": "max_length",
    "model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "num_epochs": "num_train_epochs",
    "overwrite": "overwrite_output_dir",
    "train_batch_size": "per_device_train_batch_size",
}
"""Names that other tools use for an option; accepted without a word."""
OPTIONS_OF_OTHER_TOOLS = {
    "dataset": "dataset_name",
    "device": "use_cpu",
    "no_cuda": "use_cpu",
    "resume": "resume_from_checkpoint",
    "threshold": "tune_thresholds",
}
"""Names of options that take other values here; they are suggested, not accepted."""
SEARCH_SPACE = "search_space"
"""The section of a configuration that ``zlpr tune`` reads."""
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
TRAINING_ARGUMENTS = {
    "transformers": "training_args.py",
    "zlpr_hf": "training/arguments.py",
}
"""Source files of the options of the trainer; their modules take seconds to import."""


@dataclass(frozen=True)
class OptionWords:
    """Words of a configuration file and of a command line, in their order and current names.

    ``where`` names the file if an error can only be in it, since the command line has no options.
    """

    words: list[str]
    where: str

    @classmethod
    def read(cls, argv: list[str]) -> OptionWords:
        """Read ``[CONFIG] [--name value ...]``, CONFIG a file or recipe; refuse unknown names."""
        config = argv[0] if argv and not argv[0].startswith("-") else None
        options = argv if config is None else argv[1:]
        words = [] if config is None else _read_config(find_recipe(config))
        given = [_current_word(word) for word in options]
        where = f"{config}: " if config is not None and not options else ""
        return cls([*words, *given], where)


@cache
def option_types() -> dict[str, str]:
    """Return name and written type of all options, those of the trainer from its source files."""
    found = {
        spec.name: str(spec.type)
        for kind in (ModelArguments, DataArguments)
        for spec in dataclasses.fields(kind)
    }
    for package in TRAINING_ARGUMENTS:
        found |= dict(_read_fields(package))
    return found


def option_names() -> frozenset[str]:
    """Return the names of all options."""
    return frozenset(option_types())


def _read_fields(package: str) -> Iterator[tuple[str, str]]:
    """Yield names and types of the dataclass fields in a source file of a package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / TRAINING_ARGUMENTS[package]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("TrainingArguments"):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield line.target.id, ast.unparse(line.annotation)


def current_name(name: str) -> str:
    """Return the name that an option has now; unknown names stay.

    Example:
        >>> current_name("lr"), current_name("learning-rate")
        ('learning_rate', 'learning_rate')
    """
    name = name.replace("-", "_")
    negation = "no_" if name.startswith("no_") else ""
    renamed = RENAMED_OPTIONS.get(name.removeprefix(negation))
    if renamed is not None:
        logger.warning(
            "option %s is now called %s; please use the new name", name, negation + renamed
        )
        return negation + renamed
    return ALIASES.get(name, name)


def unknown_option(name: str, where: str) -> InputError:
    """Return the error for an unknown option, with the closest known one."""
    if name in OPTIONS_OF_OTHER_TOOLS:
        hint = f'. Did you mean "{OPTIONS_OF_OTHER_TOOLS[name]}"?'
    elif Path(name).suffix in (".yaml", ".yml"):
        hint = "; the configuration file goes first"
    elif os.path.isfile(name):  # unlike Path.is_file it accepts a name of any length
        hint = "; the data file goes first: zlpr train FILE"
    else:
        hint = suggest(name, option_names(), otherwise=" (see zlpr train --help)")
    return InputError(f"{where}: unknown option {name!r}{hint}")


def _current_word(word: str) -> str:
    """Return a word with the name that its option has now, if it is an option."""
    name, equals, value = word.removeprefix("--").partition("=")
    if not word.startswith("--") or not name:
        return word
    current = current_name(name)
    if not {current, current.removeprefix("no_")} & option_names():
        raise unknown_option(name, "the command line")
    return f"--{current}{equals}{value}"


def _read_config(path: Path) -> list[str]:
    """Read a YAML file as words of the command line, so that both are converted alike."""
    if path.suffix.lower() in DATA_SUFFIXES:
        raise InputError(
            f"{path}: a data file, not a configuration; to train on it: zlpr train {path}"
        )
    words: list[str] = []
    for given, value in read_yaml_mapping(path, "expected lines of 'name: value'").items():
        if given == SEARCH_SPACE:
            continue
        name = current_name(given)
        if name not in option_names():
            raise unknown_option(given, str(path))
        try:
            words += option_words(name, value)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return words


def option_words(name: str, value: Any) -> list[str]:
    """Return an option with its value from YAML as words of the command line; none for null.

    Refuse values whose words would have another meaning.
    """
    if value is None or value == []:
        return []
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value, default=str)}"]
    if isinstance(value, list):
        words = [_text(name, item) for item in value]
        if any(word.startswith("-") for word in words):
            raise InputError(f"{name}: expected texts that do not start with a dash, got {value}")
        return [f"--{name}", *words]
    return [f"--{name}={_text(name, value) if name in TEXT_OPTIONS else value}"]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):  # 1.10 would become 1.1
        raise InputError(f"{name}: expected text, got {value!r:.80}; put it in quotes")
    return str(value)
