"""Options that name labelled texts for a trained model, and their reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zlpr_hf.choices import LabelForm, MissingLabels, MissingWords, UnseenLabels
from zlpr_hf.cli.parser import CommandParser, add_shared, bool_type, file_options
from zlpr_hf.cli.remembered import columns_of, read_remembered, use_remembered
from zlpr_hf.errors import InputError, suggest

if TYPE_CHECKING:
    from zlpr_hf.data.evaluation_set import EvaluationSet
    from zlpr_hf.labels import LabelSpace


def add_data_options(parser: CommandParser, *, split: str = "test") -> None:
    """Add the options of the data to a command; ``split`` is the default split."""
    data = parser.add_argument_group("data")
    add = data.add_argument
    add("--dataset", help="file, folder, Hub id, or a built-in corpus: cwe, reuters21578")
    add("--dataset_config_name", help="configuration of a dataset on the Hub")
    add("--data_dir", help="folder with the files of a built-in corpus")
    add("--split", default=split, help="split of a dataset with splits")
    add_shared(data, "column_names", "quoting", "text_column", "text_pair_column")
    add("--label_column", default="labels", help="column of the labels")
    add("--label_columns", nargs="+", help="one column per label, with 0/1")
    forms, unseen = get_args(LabelForm), get_args(UnseenLabels)
    add("--label_form", default="auto", choices=forms, help="form of the labels")
    add("--label_delimiter", help="separator of labels within one string, such as ';'")
    add("--label_names_file", help="label names in the order of ids or positions, one per line")
    meanings, words = get_args(MissingLabels), get_args(MissingWords)
    add("--missing_labels", default="auto", choices=meanings, help="empty cells, null and NaN")
    add("--missing_words", default="ask", choices=words, help="words such as nan, alone in a cell")
    add(
        "--join_rows",
        nargs="?",
        const=True,
        type=bool_type,
        help="rows of one text: true joins their labels, false keeps them apart",
    )
    add("--use_verdicts", default=True, type=bool_type, help="honour columns such as answer")
    add("--unseen_labels", default="error", choices=unseen, help="labels unknown to the model")


def _check_names(names: Sequence[str], path: str | None, label_space: LabelSpace) -> None:
    """Refuse a names file with a label that the model does not have."""
    unknown = next((name for name in names if name not in label_space.label2id), None)
    if unknown is not None:
        raise InputError(
            f"{path}: {unknown!r} is not a label of the model ({label_space.summary()})"
            f"{suggest(unknown, label_space.names)}"
        )


def read_labelled_texts(options: Any, label_space: LabelSpace, given: set[str]) -> EvaluationSet:
    """Read the texts that the options name; without a dataset those of the model's own split."""
    from zlpr_hf.data.evaluation_set import EvaluationSet
    from zlpr_hf.data.sources import load_source, read_file
    from zlpr_hf.workflows.load_data import find_label_columns, load_own_data, read_data_arguments

    if options.dataset is None:
        arguments = read_data_arguments(options.model, otherwise="give --dataset")
        if options.split not in ("train", "validation", "test"):
            raise InputError(f"--split: expected train, validation or test, got {options.split}")
        name = arguments.dataset_name or arguments.train_file or "data"
        own_file = {"validation": arguments.validation_file, "test": arguments.test_file}
        origin = own_file.get(options.split) or f"{name}/{options.split}"
        data = load_own_data(options.model, arguments)
        return EvaluationSet.from_split(data, options.split, label_space, origin)
    remembered = read_remembered(options.model, options.revision)
    how = file_options(options, columns_of(options, remembered))
    if Path(options.dataset).is_file():
        rows, origin = read_file(Path(options.dataset), how), options.dataset
    else:
        source = load_source(
            dataset_name=options.dataset,
            dataset_config_name=options.dataset_config_name,
            data_dir=options.data_dir,
            options=how,
        )
        if options.split not in source.splits:
            known = ", ".join(source.splits)
            raise InputError(f"{options.dataset}: no split {options.split!r}; expected {known}")
        rows, origin = source.splits[options.split], source.origins[options.split]
    use_remembered(options, remembered, given=given, columns=rows.column_names, origin=origin)
    labels = find_label_columns(options, options.dataset)
    _check_names(labels.names or (), options.label_names_file, label_space)
    labels = replace(labels, default_names=label_space.names)
    return EvaluationSet.from_rows(
        rows,
        origin,
        labels,
        label_space,
        text_column=options.text_column,
        text_pair_column=options.text_pair_column,
        unseen_labels=options.unseen_labels,
    )
