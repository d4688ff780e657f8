"""DataArguments: options of the dataset, and of the columns of its texts and labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

from zlpr_hf.choices import (
    LabelForm,
    MissingLabels,
    MissingWords,
    Quoting,
    Range,
    UnseenLabels,
)
from zlpr_hf.workflows.option_fields import default_of, option


@dataclass
class DataArguments:
    """The dataset, and the columns of its texts and labels.

    Every field is an option of ``zlpr train``; ``zlpr train --help`` describes them.

    Example:
        >>> DataArguments(train_file="reviews.csv", label_delimiter=";").text_column
        'text'
    """

    _argument_group_name = "data"

    dataset_name: str | None = option(
        None, "Hub id, local dataset folder, or a built-in corpus: cwe, reuters21578."
    )
    dataset_config_name: str | None = option(None, "Configuration of a dataset on the Hub.")
    data_dir: str | None = option(
        None, "Folder, archive or URL with the files of a built-in corpus."
    )
    train_file: str | None = option(None, "CSV, TSV, JSON Lines or Parquet file to train on.")
    validation_file: str | None = option(
        None, "Validation file; default: split off the training rows (validation_size)."
    )
    test_file: str | None = option(
        None, "Test file; default: split off the training rows (test_size)."
    )
    labels_file: str | None = option(
        None, "File with the label columns, joined to the texts of all files by id_column."
    )
    id_column: str = option("id", "Column of the ids, in the files of texts and in labels_file.")
    column_names: list[str] | None = option(
        None, "Names of the columns, for CSV and TSV files without a header."
    )
    quoting: Quoting = option(
        "auto",
        "Quotes in CSV and TSV files: csv (around cells, doubled inside), backslash (escaped "
        "inside), none (part of the text), or auto: csv, and in TSV only where a cell closes them.",
    )
    text_column: str = option("text", "Column of the text.")
    text_pair_column: str | None = option(None, "Column of the second text, for pairs of texts.")
    label_column: str = option("labels", "Column of the labels.")
    label_columns: list[str] | None = option(
        None, "One column per label, with 0/1 or probabilities; replaces label_column."
    )
    label_form: LabelForm = option(
        "auto", "Form of the labels; auto finds it from the type of the column."
    )
    label_delimiter: str | None = option(
        None, "Separator of labels within one string, such as ';'."
    )
    label_names_file: str | None = option(
        None, "File with one label name per line, in the order of the label ids."
    )
    missing_labels: MissingLabels = option(
        "auto",
        "Meaning of empty cells, null and NaN: unjudged, no_label, or auto: unjudged, and an error "
        "if nothing says that a label does not apply.",
    )
    missing_words: MissingWords = option(
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
    use_verdicts: bool = option(
        True, "Honour columns such as answer, status and was_cancelled, which reject rows."
    )
    unseen_labels: UnseenLabels = option(
        "error", "Labels of validation and test rows that no training row has: error or drop."
    )
    teacher_logits_column: str | None = option(
        None, "Distillation: column with a teacher's logits, one number per label in id order."
    )
    weight_column: str | None = option(
        None, "Column with the weight of each training row in the loss: numbers of 0 or more."
    )
    group_column: str | None = option(
        None,
        "Rows with an equal value in this column stay in the same split; a row without a value is "
        "a group of its own.",
    )
    validation_size: float = option(0.1, "Fraction of rows for a missing validation split.")
    test_size: float = option(0.1, "Fraction of rows for a missing test split.")
    folds: Annotated[int, Range(0)] | None = option(
        None,
        "Cross-fitting: train this many models on all folds but one each, choose thresholds on "
        "the rows that each leaves out, and train the final model on all rows; 0 uses a validation "
        "split. Default: 5 with few rows (docs/how_to/cross_fitting.md), else 0.",
    )
    split_seed: int = option(0, "Random seed of the splits; independent of the training seed.")
    max_train_samples: Annotated[int, Range(1)] | None = option(
        None,
        "Train on the first N rows only, to try things out; validation and test rows are drawn "
        "from all rows. Default: all rows.",
    )
    streaming: bool = option(
        False, "Read training rows from disk as needed instead of holding them in memory."
    )
    streaming_buffer: Annotated[int, Range(1)] = option(
        10_000, "Number of rows that streaming holds and shuffles together."
    )
    overwrite_output_dir: bool = option(False, "Replace an earlier run in output_dir.")


READING_OPTIONS = (
    "text_column", "text_pair_column", "label_column", "label_columns", "label_form",
    "label_delimiter", "missing_labels", "missing_words", "join_rows", "use_verdicts",
)  # fmt: skip
"""Options that a model remembers, as defaults for other data."""


def reading_options(arguments: DataArguments) -> dict[str, Any]:
    """Return the columns of texts and labels, and options that read them and are not defaults."""
    defaults = {spec.name: default_of(spec) for spec in dataclasses.fields(DataArguments)}
    labels = "label_columns" if arguments.label_columns else "label_column"
    values = {name: getattr(arguments, name) for name in READING_OPTIONS}
    if arguments.label_columns:
        del values["label_column"]
    return {
        name: value
        for name, value in values.items()
        if value != defaults[name] or name in ("text_column", labels)
    }
