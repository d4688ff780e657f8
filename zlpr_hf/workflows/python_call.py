"""The arguments of ``finetune``: options by name, rows in memory, or three objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from datasets import Dataset, DatasetDict, Features, List, Value

from zlpr_hf.data.column_guess import guess_columns
from zlpr_hf.data.column_types import declared_names
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.given_labels import GivenLabels
from zlpr_hf.data.in_memory import LABEL_COLUMNS, to_dataset
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.sample_rows import SAMPLE_ROWS, SampleRows, read_sample
from zlpr_hf.data.sources import Source
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import ARGUMENTS, RunConfig, parse_arguments
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import file_options, find_label_columns
from zlpr_hf.workflows.option_words import current_name, option_names, option_words, unknown_option

OBJECTS = ("model_args", "data_args", "training_args")
SPLIT_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


def read_call(
    given: Sequence[Any], data: Any, options: Mapping[str, Any]
) -> tuple[RunConfig, LabelledData | Source | None]:
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
    in_memory = bool(rows) and not isinstance(rows[0], LabelledData)
    if objects:
        config = _from_objects(objects)
        source = to_source(rows[0], needed=_columns(config.data)) if in_memory else None
    else:
        named = {_known_name(given): value for given, value in named.items()}
        source = to_source(rows[0], needed=_columns(DataArguments(), named)) if in_memory else None
        config = config_from_options(_guess(named, source) | named)
    return config, rows[0] if rows and source is None else source


def _known_name(given: str) -> str:
    name = current_name(given)
    if name not in option_names():
        raise unknown_option(given, "finetune")
    return name


def _columns(arguments: DataArguments, named: Mapping[str, Any] | None = None) -> set[str]:
    """Return the columns that must be readable."""
    chosen = {name: value for name, value in (named or {}).items() if hasattr(arguments, name)}
    arguments = replace(arguments, **chosen)
    files = file_options(arguments, find_label_columns(arguments, None))
    return {*(files.needed or ()), *LABEL_COLUMNS}


def _guess(given: Mapping[str, Any], source: Source | None) -> dict[str, Any]:
    """Return the columns of texts and labels that the first rows show, as ``zlpr train`` does."""
    if source is not None:
        rows = source.splits["train"]
        declared = frozenset(name for name, each in rows.features.items() if declared_names(each))
        first = rows.with_format(None).select(range(min(SAMPLE_ROWS, len(rows)))).to_list()
        names = tuple(rows.column_names)
        sample = SampleRows(source.origins["train"], first, names, declared=declared)
    elif given.get("train_file") and not given.get("streaming") and not given.get("labels_file"):
        options = FileOptions(tuple(given.get("column_names") or ()), given.get("quoting", "auto"))
        sample = read_sample(str(given["train_file"]), options)
    else:
        return {}
    return guess_columns(sample, given, command="zlpr train FILE").options


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
        plain = str(value) if isinstance(value, PathLike) else value
        words += option_words(
            _known_name(given), list(plain) if isinstance(plain, tuple) else plain
        )
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


def texts_to_source(texts: Sequence[tuple[str, ...]], given: GivenLabels) -> Source:
    """Return texts and their labels as rows to train on, in the columns ``text`` and ``text_pair``.

    Raises:
        InputError: If their numbers differ.
    """
    given.check_count(texts)
    columns = dict(zip(("text", "text_pair"), map(list, zip(*texts, strict=True)), strict=False))
    features = Features(
        {name: Value("string") for name in columns} | {"labels": List(Value("float32"))}
    )
    rows = Dataset.from_dict({**columns, "labels": list(given.targets)}, features=features)
    labels = LabelColumns(
        form="multi_hot", names=given.space.names, join_rows=False, use_verdicts=False
    )
    splits, origins = DatasetDict({"train": rows}), {"train": "the rows"}
    return Source(splits, origins, format="rows in memory", labels=labels)
