"""Options of a fine-tuning run, read from YAML and from the command line."""

from __future__ import annotations

import argparse
import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from zlpr_hf.choices import HelpFormatter
from zlpr_hf.data.columns import SEVERAL_NAMES
from zlpr_hf.errors import InputError, hide_secrets
from zlpr_hf.files.yaml_mapping import render_yaml
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.command_defaults import (
    AUTO_OPTIONS,
    COMMAND_DEFAULTS,
    command_defaults,
    find_given,
    without_auto,
)
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.model_arguments import ModelArguments
from zlpr_hf.workflows.option_fields import default_of
from zlpr_hf.workflows.option_words import OptionWords, unknown_option

ZLPRTrainingArguments._argument_group_name = "training (of transformers' TrainingArguments)"  # type: ignore[attr-defined]
ARGUMENTS: tuple[Any, ...] = (ModelArguments, DataArguments, ZLPRTrainingArguments)
VALUE_NAMES: dict[Any, str] = {int: "N", float: "X", string_to_bool: "true"}
MAX_CHOICES_WIDTH = 40
MAX_CHOICES = 14
"""Values of an option that its help lists."""
UNSAVED_OPTIONS = (
    "use_cpu",
    "report_to",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "trust_remote_code",
)
"""Options that depend on the machine, say how to start, or need the consent of each user."""
ALWAYS_SAVED = ("bf16", "seed", *COMMAND_DEFAULTS)
"""Options with defaults that depend on the machine or on the caller."""


@dataclass(frozen=True)
class RunConfig:
    """All options of a fine-tuning run."""

    model: ModelArguments
    data: DataArguments
    training: ZLPRTrainingArguments
    auto: frozenset[str] = frozenset()
    """Options of AUTO_OPTIONS without a value yet."""


def render_all_options() -> str:
    """Return the help of all options, each in one spelling."""
    parser = _full_parser()
    parser.set_defaults(**COMMAND_DEFAULTS, **dict.fromkeys(AUTO_OPTIONS, "auto"))
    return parser.format_help().rstrip()


def _full_parser() -> HfArgumentParser:
    parser = HfArgumentParser(
        list(ARGUMENTS),
        prog="zlpr train",
        usage="zlpr train [FILE, RECIPE or CONFIG.yaml] [--name value ...]",
        description="Fine-tune an encoder for multi-label classification with the ZLPR loss.",
        epilog="example: zlpr train quickstart --seed 1 --output_dir out/seed1",
        allow_abbrev=False,
        exit_on_error=False,
        formatter_class=FullHelp,
    )
    for option, action in parser._option_string_actions.items():
        if option.startswith("--no_"):  # its help would be that of the option it turns off
            action.help = argparse.SUPPRESS
    return parser


class FullHelp(HelpFormatter):
    """Shows one spelling of each option, and short names for its values."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy.copy(action)
        shown.option_strings = [name for name in action.option_strings if "-" not in name[2:]]
        if action.option_strings and action.nargs != 0:
            choices = ",".join(map(str, action.choices or ()))
            named = 0 < len(choices) <= MAX_CHOICES_WIDTH
            shown.metavar = f"{{{choices}}}" if named else VALUE_NAMES.get(action.type, "TEXT")
        return super()._format_action_invocation(shown)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action)
        names = [str(name) for name in action.choices or ()]
        if len(",".join(names)) <= MAX_CHOICES_WIDTH:
            return text
        more = ", ..." if len(names) > MAX_CHOICES else ""
        return f"{text} One of {', '.join(names[:MAX_CHOICES])}{more}"


def parse_arguments(argv: list[str]) -> RunConfig:
    """Read ``[CONFIG] [--name value ...]``; the command line overrides the file or recipe."""
    parser = _full_parser()
    read = OptionWords.read(argv)
    words, where = without_auto(read.words), read.where
    given = find_given(words)
    parser.set_defaults(**command_defaults(given))
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
        raise unknown_option(rest[0].lstrip("-").partition("=")[0], "the command line")
    model, data, training = parts
    own_metric = "metric_for_best_model" in given or not training.load_best_model_at_end
    if not own_metric and not LOSSES[training.loss].decides_at_zero:
        training.metric_for_best_model = "lrap"
    return RunConfig(model, data, training, frozenset(AUTO_OPTIONS) - given.keys())


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
    options = vars(config.model) | vars(config.training)
    for name in {*ALWAYS_SAVED, *AUTO_OPTIONS} - config.auto:
        if options[name] is not None:
            values[name] = getattr(options[name], "value", options[name])
    return render_yaml(values)
