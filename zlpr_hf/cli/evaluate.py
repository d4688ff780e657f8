"""``zlpr evaluate``: all metrics of a model on labelled texts, with intervals."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from zlpr_hf.choices import (
    DECISION_METRICS,
    LABEL_METRICS,
    LabelForm,
    MissingLabels,
    MissingWords,
    Scope,
    UnseenLabels,
)
from zlpr_hf.cli.parser import (
    CommandParser,
    add_shared,
    bool_type,
    count_type,
    file_options,
    load_classifier,
)
from zlpr_hf.cli.remembered import columns_of, read_remembered, use_remembered
from zlpr_hf.cli.terminal import print_log
from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.atomic import is_free

if TYPE_CHECKING:
    from zlpr_hf.data.evaluation_set import EvaluationSet
    from zlpr_hf.labels import LabelSpace


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr evaluate",
        description="Evaluate a model on labelled texts, with 95 % bootstrap "
        "intervals.\nWithout --dataset: on the test split of the data that the model was trained "
        "on.\nOptions of the data that are not given are those of its training.",
        example="zlpr evaluate out/quickstart --dataset new.csv --label_delimiter ';'",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    data = parser.add_argument_group("data")
    add = data.add_argument
    add("--dataset", help="file, folder, Hub id, or a built-in corpus: cwe, reuters21578")
    add("--dataset_config_name", help="configuration of a dataset on the Hub")
    add("--data_dir", help="folder with the files of a built-in corpus")
    add("--split", default="test", help="split of a dataset with splits")
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
    reading = parser.add_argument_group("reading")
    add_shared(reading, "long_texts", "batch_size", "backend", "revision", "trust_remote_code")
    add = parser.add_argument_group("numbers").add_argument
    add("--resamples", type=count_type(1), default=1000, help="number of bootstrap resamples")
    add("--all", action="store_true", help="print all metrics and labels")
    add("--output", type=Path, help="JSON file for all numbers")
    add = parser.add_argument_group("tuning offsets on these rows").add_argument
    add("--tune_thresholds", choices=get_args(Scope), help="one offset, or one per label")
    add(
        "--threshold_metric",
        default="f1_macro",
        choices=DECISION_METRICS,
        help="metric that the offsets maximise",
    )
    add("--tuned_model", type=Path, help="new folder for the model with these offsets")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:
    """Evaluate a model, print its metrics, and save the tuned model if asked."""
    parser = _parser()
    options = parser.parse_args(argv)
    _check(options)
    classifier = load_classifier(options)
    from zlpr_hf.data.seen_texts import SeenTexts
    from zlpr_hf.inference.onnx_model import OnnxModel
    from zlpr_hf.workflows.evaluate import evaluate

    if options.tune_thresholds and classifier.label_sets is not None:
        raise InputError(
            "--tune_thresholds: not supported for models that predict whole label sets"
        )
    if options.tuned_model and isinstance(classifier.model, OnnxModel):
        raise InputError(
            "--tuned_model: not supported for ONNX models; tune the torch model, then export"
        )
    rows = _rows(options, classifier.label_space, parser.find_given(argv))
    seen = SeenTexts.find(options.model)
    evaluation = evaluate(
        classifier,
        rows,
        model=options.model,
        long_texts=options.long_texts,
        batch_size=options.batch_size,
        resamples=options.resamples,
        tune=options.tune_thresholds,
        metric=options.threshold_metric,
        seen=None if options.dataset is None and options.split == "train" else seen,
    )
    if rows.reading is not None:
        print(f"{rows.reading.render_columns()}\n")
    print_log(evaluation.render(all_metrics=options.all))
    for name, count in rows.dropped.items():
        print(f"dropped label {name!r}, unknown to the model, from {count} rows")
    if options.output is not None:
        evaluation.save(options.output)
        print(f"\nwritten to {options.output}")
    if options.tuned_model is not None:
        classifier.save(
            options.tuned_model,
            evaluation.thresholds,
            temperature=evaluation.temperature,
            long_texts=evaluation.long_texts,
        )
        if seen is not None:
            seen.with_validation(rows.texts).save(options.tuned_model)
        print(f"\nthe model with these offsets: {options.tuned_model}; evaluate it on new rows:")
        print(f"  {shlex.join([*program, str(options.tuned_model), '--dataset', 'OTHER.csv'])}")
    return 0


def _check(options: Any) -> None:
    """Check everything that needs no model."""
    for name in ("output", "tuned_model"):
        path = getattr(options, name)
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder (--{name})")
    if options.output is not None and options.output.is_dir():
        raise InputError(f"{options.output} is a folder; expected a file (--output)")
    if options.tune_thresholds == "per_label" and options.threshold_metric not in LABEL_METRICS:
        raise InputError(
            f"--threshold_metric: for per_label expected {' or '.join(LABEL_METRICS)}, "
            f"got {options.threshold_metric}"
        )
    folder = options.tuned_model
    if folder is None:
        return
    if not options.tune_thresholds:
        raise InputError("--tuned_model needs --tune_thresholds")
    if not is_free(folder):
        raise InputError(f"{folder} exists and is not an empty folder (--tuned_model)")


def _check_names(names: Sequence[str], path: str | None, label_space: LabelSpace) -> None:
    """Refuse a names file with a label that the model does not have."""
    unknown = next((name for name in names if name not in label_space.label2id), None)
    if unknown is not None:
        raise InputError(
            f"{path}: {unknown!r} is not a label of the model ({label_space.summary()})"
            f"{suggest(unknown, label_space.names)}"
        )


def _rows(options: Any, label_space: LabelSpace, given: set[str]) -> EvaluationSet:
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
        if data.split_of(options.split) != options.split:
            raise InputError(
                f"{options.model} has no {options.split} split: it is cross-fitted, and its report "
                "judges each row out of its fold; give other rows with --dataset FILE"
            )
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
