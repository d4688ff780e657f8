"""``zlpr evaluate``: all metrics of a model on labelled texts, with intervals."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from zlpr_hf.choices import DECISION_METRICS, LABEL_METRICS, Scope
from zlpr_hf.cli.labelled_texts import add_data_options, read_labelled_texts
from zlpr_hf.cli.parser import CommandParser, add_shared, count_type, load_classifier
from zlpr_hf.cli.terminal import print_log
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr evaluate",
        description="Evaluate a model on labelled texts, with 95 % bootstrap "
        "intervals.\nWithout --dataset: on the test split of the data that the model was trained "
        "on.\nOptions of the data that are not given are those of its training.",
        example="zlpr evaluate out/quickstart --dataset new.csv --label_delimiter ';'",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    add_data_options(parser)
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
    rows = read_labelled_texts(options, classifier.label_space, parser.find_given(argv))
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
