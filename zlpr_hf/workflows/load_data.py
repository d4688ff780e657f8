"""Load the dataset that the arguments of a run describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_names import read_label_names
from zlpr_hf.data.labels_file import join_labels_file
from zlpr_hf.data.responses import split_responses
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.seen_texts import SeenTexts
from zlpr_hf.data.sources import Source, load_source, read_file
from zlpr_hf.data.streaming.row_stream import stream_data_set, stream_files
from zlpr_hf.data.streaming.streamed_data import StreamedData, build_streamed_data
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.argument_checks import check_fields
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.output_dir import CONFIG_FILE


def read_data_arguments(model: str, *, otherwise: str) -> DataArguments:
    """Return the arguments of a trained model's data; the error ends with ``otherwise``."""
    config = Path(model).expanduser() / CONFIG_FILE
    if not config.is_file():
        raise InputError(f"{model} does not name its training data: {otherwise}")
    return parse_arguments([str(config)]).data


def load_data(
    arguments: DataArguments,
    known: Sequence[SeenTexts] = (),
    *,
    fold_blocker: SeenTexts | None = None,
    source: Source | None = None,
) -> LabelledData:
    """Read all splits of a dataset or of a source in memory.

    Rows of ``known`` runs keep their split. If ``fold_blocker`` knows one of the texts, nothing is
    cross-fitted by default.
    """
    check_fields(arguments)
    given = {
        "train": arguments.train_file,
        "validation": arguments.validation_file,
        "test": arguments.test_file,
    }
    files = {split: path for split, path in given.items() if path is not None}
    source_labels = None if source is None else source.labels
    labels = source_labels or find_label_columns(arguments, arguments.dataset_name)
    if arguments.labels_file and (arguments.streaming or not arguments.train_file):
        raise InputError("labels_file goes with train_file, and without streaming")
    if source is not None and (files or arguments.dataset_name or arguments.streaming):
        raise InputError("rows in memory: expected no train_file, dataset_name and streaming")
    if arguments.streaming:
        return _load_streamed_data(arguments, labels, files)
    return build_labelled_data(
        source or _load_source(arguments, labels, files),
        labels,
        text_column=arguments.text_column,
        text_pair_column=arguments.text_pair_column,
        group_column=arguments.group_column,
        teacher_logits_column=arguments.teacher_logits_column,
        weight_column=arguments.weight_column,
        validation_size=arguments.validation_size,
        test_size=arguments.test_size,
        split_seed=arguments.split_seed,
        max_train_samples=arguments.max_train_samples,
        folds=arguments.folds,
        unseen_labels=arguments.unseen_labels,
        known=known,
        fold_blocker=fold_blocker,
    )


def load_own_data(model: str, arguments: DataArguments) -> LabelledData:
    """Read the data of a trained model again, in the splits of its training."""
    if arguments.folds is None:  # a run of an earlier release, which had a validation split
        arguments = replace(arguments, folds=0)
    seen = SeenTexts.find(model)
    return load_data(arguments, () if seen is None else (seen,))


def _load_source(arguments: DataArguments, labels: LabelColumns, files: dict[str, str]) -> Source:
    options = file_options(arguments, labels)
    source = load_source(
        dataset_name=arguments.dataset_name,
        dataset_config_name=arguments.dataset_config_name,
        data_dir=arguments.data_dir,
        files=files,
        options=options,
    )
    if arguments.labels_file:
        path = Path(arguments.labels_file)
        rows = read_file(path, options)
        for name, texts in source.splits.items():
            origin, id_column = source.origins[name], arguments.id_column
            source.splits[name] = join_labels_file(texts, origin, rows, path, id_column)
        source = replace(source, format=f"{source.format}; labels from {path} by {id_column!r}")
    for name, each in source.splits.items():
        source.splits[name] = split_responses(each, labels.used)
    return source


def find_label_columns(options: Any, dataset_name: str | None) -> LabelColumns:
    """Return where data has its labels, by options of training or of ``zlpr evaluate``.

    By default the rows of the built-in corpora stay as published.
    """
    names_file, join_rows = options.label_names_file, options.join_rows
    return LabelColumns(
        column=options.label_column,
        columns=tuple(options.label_columns or ()),
        form=options.label_form,
        delimiter=options.label_delimiter,
        names=None if names_file is None else read_label_names(Path(names_file)),
        missing=options.missing_labels,
        words=options.missing_words,
        join_rows=False if join_rows is None and dataset_name in CORPORA else join_rows,
        use_verdicts=options.use_verdicts,
    )


def file_options(arguments: DataArguments, labels: LabelColumns) -> FileOptions:
    """Return how files are read, with the columns that must be readable."""
    others = (
        arguments.text_column, arguments.text_pair_column, arguments.group_column,
        arguments.teacher_logits_column, arguments.weight_column,
        arguments.labels_file and arguments.id_column,
    )  # fmt: skip
    statuses = [f"{name}.status" for name in labels.used]
    needed = frozenset({*labels.used, *statuses, *filter(None, others)})
    return FileOptions(tuple(arguments.column_names or ()), arguments.quoting, needed)


def _load_streamed_data(
    arguments: DataArguments, labels: LabelColumns, files: dict[str, str]
) -> StreamedData:
    """Read all splits, but stream the training rows."""
    train_file, name = files.pop("train", None), arguments.dataset_name
    if (train_file is None) == (name is None):
        raise InputError("name the data with --train_file FILE or --dataset_name NAME, one of them")
    options = file_options(arguments, labels)
    if train_file is not None:
        rows = stream_files([train_file], labels.used, options)
        held = {split: read_file(Path(path), options) for split, path in files.items()}
        origins = files
    else:
        assert name is not None
        config = arguments.dataset_config_name
        rows, held, origins = stream_data_set(name, config, labels.used, options)
    return build_streamed_data(
        rows,
        held,
        origins,
        labels,
        text_column=arguments.text_column,
        text_pair_column=arguments.text_pair_column,
        unseen_labels=arguments.unseen_labels,
    )
