"""The arguments of ``finetune``: options by name, rows in memory, or three objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from datasets import Dataset, DatasetDict, Features, List, Value

from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.given_labels import GivenLabels
from zlpr_hf.data.in_memory import LABEL_COLUMNS, find_label_column, to_dataset
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.sources import Source
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import ARGUMENTS, RunConfig, parse_arguments
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import file_options, find_label_columns, load_data
from zlpr_hf.workflows.option_words import current_name, option_names, option_words, unknown_option

OBJECTS = ("model_args", "data_args", "training_args")
SPLIT_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


def read_call(
    given: Sequence[Any], data: Any, options: Mapping[str, Any]
) -> tuple[RunConfig, LabelledData | None]:
    """Return the configuration of a call, and its rows if they are in memory.

    Raises:
        InputError: If an option is unknown, or the call has two forms or two sets of rows.
    """
    objects = [each for each in given if isinstance(each, ARGUMENTS)]
    objects += [options[name] for name in OBJECTS if options.get(name) is not None]
    named = {name: value for name, value in options.items() if name not in OBJECTS}
    rows = [each for each in given if not isinstance(each, ARGUMENTS)]
    rows += [] if data is None else [data]
    if len(rows) > 1:
        raise InputError("finetune: expected one data frame, Dataset or LabelledData, got several")
    if objects and named:
        raise InputError(
            "finetune: expected options by name, or ModelArguments, DataArguments and "
            f"ZLPRTrainingArguments, got both (such as {min(named)})"
        )
    if rows and isinstance(rows[0], (str, PathLike)):
        named["train_file"] = rows.pop()
    config = _from_objects(objects) if objects else config_from_options(named)
    if not rows or isinstance(rows[0], LabelledData):
        return config, rows[0] if rows else None
    files = file_options(config.data, find_label_columns(config.data, None))
    source = to_source(rows[0], needed={*(files.needed or ()), *LABEL_COLUMNS})
    config = replace(config, data=_with_label_column(config.data, source))
    return config, load_data(config.data, source=source)


def _from_objects(objects: Sequence[Any]) -> RunConfig:
    found = {type(each): each for each in objects}
    if len(found) < len(objects):
        raise InputError("finetune: expected one object of arguments of each kind, got two")
    return RunConfig(*(found.get(kind) or kind() for kind in ARGUMENTS))


def config_from_options(options: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of ``zlpr train`` with these options, by any of their names.

    Raises:
        InputError: If an option is unknown or its value is wrong.
    """
    words: list[str] = []
    for given, value in options.items():
        name = current_name(given)
        if name not in option_names():
            raise unknown_option(given, "finetune")
        if isinstance(value, PathLike):
            value = str(value)
        words += option_words(name, list(value) if isinstance(value, tuple) else value)
    return parse_arguments(words)


def to_source(rows: Any, *, needed: Collection[str]) -> Source:
    """Return a data frame, a Dataset, rows or a DatasetDict as a source of splits.

    Columns that are not ``needed`` may hold anything.
    """
    splits = {"train": rows}
    if isinstance(rows, Mapping) and "train" in rows:
        splits = {SPLIT_NAMES.get(str(name), str(name)): each for name, each in rows.items()}
    origins = {name: f"the {name} rows" for name in splits}
    found = {name: to_dataset(each, origins[name], needed=needed) for name, each in splits.items()}
    return Source(DatasetDict(found), origins, format=type(rows).__name__)


def split_rows_in_memory(
    texts: Sequence[tuple[str, ...]], given: GivenLabels, arguments: DataArguments
) -> LabelledData:
    """Return texts and their labels with a validation and a test split."""
    given.check_count(texts)
    columns = dict(zip(("text", "text_pair"), map(list, zip(*texts, strict=True)), strict=False))
    features = Features(
        {name: Value("string") for name in columns} | {"labels": List(Value("float32"))}
    )
    rows = Dataset.from_dict({**columns, "labels": list(given.targets)}, features=features)
    names = given.space.names
    return build_labelled_data(
        Source(DatasetDict({"train": rows}), {"train": "the rows"}, format="rows in memory"),
        LabelColumns(form="multi_hot", names=names, join_rows=False, use_verdicts=False),
        text_pair_column="text_pair" if "text_pair" in columns else None,
        validation_size=arguments.validation_size,
        test_size=arguments.test_size,
        split_seed=arguments.split_seed,
    )


def _with_label_column(arguments: DataArguments, source: Source) -> DataArguments:
    """Take ``label`` where there is no ``labels``, as transformers does."""
    names = source.splits["train"].column_names
    found = find_label_column(names)
    if arguments.label_columns or arguments.label_column in names or found is None:
        return arguments
    return replace(arguments, label_column=found)
