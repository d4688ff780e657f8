"""Options of a fine-tuning run, read from YAML and from the command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from transformers import HfArgumentParser

from zlpr_hf.choices import (
    HelpFormatter,
)
from zlpr_hf.data.columns import SEVERAL_NAMES
from zlpr_hf.errors import InputError, hide_secrets, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping, render_yaml
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.option_fields import default_of
from zlpr_hf.workflows.recipes import find_recipe

logger = logging.getLogger(__name__)


ZLPRTrainingArguments._argument_group_name = "training (of transformers' TrainingArguments)"  # type: ignore[attr-defined]
ARGUMENTS: tuple[Any, ...] = (ModelArguments, DataArguments, ZLPRTrainingArguments)
TEXT_OPTIONS = {
    name
    for kind in (ModelArguments, DataArguments)
    for name, hint in get_type_hints(kind).items()
    if hint in (str, str | None)
}
RENAMED_OPTIONS = {"yardsticks": "baselines"}
"""Old name to new name; old names are accepted for one version."""
OPTIONS_OF_OTHER_TOOLS = {
    "batch_size": "per_device_train_batch_size",
    "dataset": "dataset_name",
    "device": "use_cpu",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
    "max_seq_length": "max_length",
    "model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "no_cuda": "use_cpu",
    "num_epochs": "num_train_epochs",
    "overwrite": "overwrite_output_dir",
    "resume": "resume_from_checkpoint",
    "train_batch_size": "per_device_train_batch_size",
}
SEARCH_SPACE = "search_space"
"""The section of a configuration that ``zlpr tune`` reads."""
UNSAVED_OPTIONS = (
    "use_cpu",
    "report_to",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "trust_remote_code",
)
"""Options that depend on the machine, say how to start, or need the consent of each user."""
ALWAYS_SAVED = ("bf16", "cpu_speedups", "seed")
"""Options with defaults that depend on the machine or on the caller."""


@dataclass(frozen=True)
class RunConfig:
    """All options of a fine-tuning run."""

    model: ModelArguments
    data: DataArguments
    training: ZLPRTrainingArguments


def parse_arguments(argv: list[str]) -> RunConfig:
    """Read ``[CONFIG] [--name value ...]``; the command line overrides the file or recipe."""
    parser = HfArgumentParser(
        list(ARGUMENTS),
        prog="zlpr train",
        usage="zlpr train [RECIPE or CONFIG.yaml] [--name value ...]    (--recipes lists recipes)",
        description="Fine-tune an encoder for multi-label classification with the ZLPR loss.",
        epilog="example: zlpr train quickstart --seed 1 --output_dir out/seed1",
        allow_abbrev=False,
        exit_on_error=False,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(cpu_speedups=True)  # on for commands, off in Python code
    for option, action in parser._option_string_actions.items():
        if option.startswith("--no_"):  # its help would be that of the option it turns off
            action.help = argparse.SUPPRESS
    config = argv[0] if argv and not argv[0].startswith("-") else None
    options = argv if config is None else argv[1:]
    words = [] if config is None else _read_config(find_recipe(config))
    words = [_current_option(word) for word in [*words, *options]]
    # An error can only be in the file if the command line has no options.
    where = f"{config}: " if config is not None and not options else ""
    try:
        *parts, rest = parser.parse_args_into_dataclasses(
            words, return_remaining_strings=True, look_for_args_file=False
        )
    except argparse.ArgumentError as error:
        option = (error.argument_name or "").partition("/")[0]
        raise InputError(f"{where}{option}: {error.message} (see --help)") from error
    except Exception as error:  # TrainingArguments raises errors of many types
        raise InputError(where + " ".join(str(error).split())) from error
    if rest and where:  # the names in the file were checked before
        raise InputError(
            f"{where}unexpected value {rest[0]!r}; is it in a list for a single value?"
        )
    if rest:
        before = [word for word in words[: words.index(rest[0])] if word.startswith("--")]
        option = before[-1][2:].partition("=")[0] if before else ""
        if option in SEVERAL_NAMES and not rest[0].startswith("-"):
            hint = SEVERAL_NAMES[option]
            raise InputError(f"{option}: expected one column, got also {rest[0]!r}{hint}")
        raise _unknown_option(rest[0].lstrip("-").partition("=")[0], "the command line")
    return RunConfig(*parts)


def _option_names() -> set[str]:
    return {spec.name for kind in ARGUMENTS for spec in dataclasses.fields(kind) if spec.init}


def _unknown_option(name: str, where: str) -> InputError:
    known = _option_names()
    if name in OPTIONS_OF_OTHER_TOOLS:
        hint = f"; did you mean {OPTIONS_OF_OTHER_TOOLS[name]}?"
    elif Path(name).suffix in (".yaml", ".yml"):
        hint = "; the configuration file goes first"
    elif os.path.isfile(name):  # unlike Path.is_file it accepts a name of any length
        hint = "; a data file is given as --train_file"
    else:
        hint = suggest(name, known, otherwise=" (see --help)")
    return InputError(f"{where}: unknown option {name!r}{hint}")


def _current_option(word: str) -> str:
    """Return ``--name`` or ``--name=value`` with the name that the option has now."""
    name, equals, value = word.removeprefix("--").partition("=")
    negation = "no_" if name.startswith("no_") else ""
    current = RENAMED_OPTIONS.get(name.removeprefix(negation))
    if current is None or not word.startswith("--"):
        return word
    current = negation + current
    logger.warning("option %s is now called %s; please use the new name", name, current)
    return f"--{current}{equals}{value}"


DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def _read_config(path: Path) -> list[str]:
    """Read a YAML file as words of the command line, so that both are converted alike."""
    if path.suffix.lower() in DATA_SUFFIXES:
        raise InputError(
            f"{path}: a data file, not a configuration; to train on it: zlpr train --train_file "
            f"{path}"
        )
    known = _option_names() | set(RENAMED_OPTIONS)
    words: list[str] = []
    for name, value in read_yaml_mapping(path, "expected lines of 'name: value'").items():
        if name == SEARCH_SPACE:
            continue
        if name not in known:
            raise _unknown_option(name, str(path))
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


def render_config(config: RunConfig) -> str:
    """Return the configuration as YAML for ``zlpr train``, without values at their default."""
    values: dict[str, Any] = {}
    for part in (config.model, config.data, config.training):
        for spec in dataclasses.fields(part):
            value = getattr(part, spec.name)
            value = getattr(value, "value", value)  # enumerations by their value
            saved = spec.init and spec.name not in UNSAVED_OPTIONS and "_token" not in spec.name
            plain = isinstance(value, (str, int, float, list, dict))
            if saved and plain and value not in ([], default_of(spec)):
                values[spec.name] = hide_secrets(value) if isinstance(value, str) else value
    values |= {name: getattr(config.training, name) for name in ALWAYS_SAVED}
    return render_yaml(values)
