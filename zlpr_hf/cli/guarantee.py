"""``zlpr guarantee``: a promise about new texts, kept by offsets in the head of a new model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zlpr_hf.choices import Scope
from zlpr_hf.cli.labelled_texts import add_data_options, read_labelled_texts
from zlpr_hf.cli.parser import CommandParser, add_shared, load_classifier
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free
from zlpr_hf.files.paths import shorten_path
from zlpr_hf.metrics.risk_control import MAX_FALSE_LABELS, check_level

KINDS = ("recall", "false_labels", "precision")


def _number(word: str) -> float:
    """Convert a level; its range is checked with the labels of the model."""
    return float(word)


_number.__name__ = "number"


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr guarantee",
        description="Move the threshold of a model so that a promise about new texts holds.\n"
        "The offset becomes part of the bias of a new model, so zero stays the rule on\n"
        "every server. Calibration rows: out-of-fold or validation rows of the training,\n"
        "or --dataset.",
        example="zlpr guarantee out/reviews --recall 0.9",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier")
    parser.set_defaults(backend="torch")
    group = parser.add_argument_group("promise, one of")
    promise = group.add_mutually_exclusive_group()
    promise.add_argument("--recall", type=_number, help="expected share of a text's labels found")
    promise.add_argument("--false_labels", type=_number, help="expected false labels per text")
    promise.add_argument("--precision", type=_number, help="share of predicted labels that apply")
    add = parser.add_argument_group("more").add_argument
    add("--confidence", type=_number, default=0.95, help="confidence of --precision")
    add("--per_label", action="store_true", help="one offset and promise per label (--recall)")
    add("--output_dir", type=Path, help="new folder (default: MODEL-recall-0.9 and the like)")
    add("--overwrite", action="store_true", help="replace an earlier guarantee in this folder")
    add_data_options(parser, split="validation")
    reading = parser.add_argument_group("reading")
    add_shared(reading, "long_texts", "batch_size", "revision", "trust_remote_code")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:
    """Fit a guarantee, print it, and write the new model."""
    parser = _parser()
    options = parser.parse_args(argv)
    kind = next((name for name in KINDS if getattr(options, name) is not None), None)
    if kind is None:
        raise InputError("say which promise: --recall, --false_labels or --precision")
    given = parser.find_given(argv)
    if "confidence" in given and kind != "precision":
        raise InputError(f"--confidence goes with --precision; {kind} is an expected value")
    scope: Scope = "per_label" if options.per_label else "global"
    try:
        check_level(kind, getattr(options, kind), options.confidence, scope, MAX_FALSE_LABELS)
    except ValueError as error:
        raise InputError(f"--{error}") from error
    source = Path(options.model).expanduser()
    folder = options.output_dir or _beside(source, kind, options)
    _check_folder(folder, source, options.overwrite)
    if options.split == "train" and options.dataset is None:
        raise InputError(
            "--split train: the model was trained on these texts, so that they promise nothing "
            "about new ones; use validation or test, or give new texts with --dataset"
        )
    classifier = load_classifier(options)
    from zlpr_hf.metrics.risk_control import fit_guarantee
    from zlpr_hf.workflows.guarantee import (
        Rows,
        check_model,
        find_new_texts,
        find_stored_rows,
        own_test_split,
        render_effect,
        save_guaranteed,
    )

    check_model(classifier)
    labels = classifier.label_space
    reading = {"batch_size": options.batch_size, "long_texts": options.long_texts}
    texts = rows = None
    if not given & {"dataset", "split", "long_texts"}:
        rows = find_stored_rows(source, labels.num_labels)
    if rows is None:
        texts = read_labelled_texts(options, labels, given)
        new = find_new_texts(options.model, texts)
        logits = classifier.compute_logits([texts.texts[row] for row in new], **reading)
        rows = Rows(texts.origin, shorten_path(texts.origin), logits, texts.targets[new])
        total = len(texts.texts)
        if len(new) < total:
            print(
                f"{texts.origin}: {total - len(new):,} of {total:,} texts are left out: the model "
                "was trained on them"
            )
    try:
        guarantee = fit_guarantee(
            rows.logits,
            rows.targets,
            confidence=options.confidence,
            scope=scope,
            keep_zero=True,
            **{kind: getattr(options, kind)},
        )
    except ValueError as error:
        raise InputError(f"{rows.origin}: {error}") from error
    guarantee = replace(guarantee, source=rows.source)
    is_run = (source / "train_config.yaml").is_file()
    test = own_test_split(classifier, options.model, reading) if is_run else None
    print(f"{guarantee.describe()}\n{guarantee.describe_assumption()}")
    _print_notes(guarantee, classifier)
    if test is None or (options.split == "test" and options.dataset is None):
        effect = render_effect(guarantee, classifier, rows, "calibration texts")
    else:
        effect = render_effect(guarantee, classifier, test, f"{len(test.texts):,} test texts")
    print(f"\n{effect}")
    save_guaranteed(
        classifier,
        guarantee,
        folder,
        model=options.model,
        test=test,
        calibration=texts,
        long_texts=options.long_texts,
    )
    print(f"\nnew model: {folder}; {options.model} is unchanged. Use it:")
    print(f"  {shlex.join([*program[:-1], 'predict', str(folder), 'TEXTS.csv'])}")
    return 0


def _print_notes(guarantee: Any, classifier: Any) -> None:
    """Print the offsets, labels without a promise, and limits that the new model loses."""
    low, high = min(guarantee.offsets), max(guarantee.offsets)
    shown = f"offset {low:+.3f}" if low == high else f"offsets from {low:+.3f} to {high:+.3f}"
    if any(guarantee.offsets):
        print(f"{shown}, part of the bias now: logit > 0 stays the rule, and scores are moved")
    else:
        print("offset 0: the threshold of the model keeps this promise as it is")
    if guarantee.uncovered:
        names = [classifier.label_space.names[label] for label in guarantee.uncovered]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        print(
            f"no promise for {len(names)} labels with too few texts, which get the offset of all: "
            f"{', '.join(names[:8])}{more}"
        )
    limits = classifier.thresholds
    kept = guarantee.keep_limits(limits)
    for name in ("min_labels", "max_labels"):
        if getattr(limits, name) != getattr(kept, name):
            print(f"{name} {getattr(limits, name)} is removed: it could break the promise")


def _beside(source: Path, kind: str, options: Any) -> Path:
    if not source.is_dir():
        raise InputError(
            f"{options.model}: no such folder; for a model on the Hub, give --output_dir"
        )
    whole = source if source.name not in ("", "..") else source.resolve()
    suffix = f"-{kind}-{getattr(options, kind):g}" + ("-per_label" if options.per_label else "")
    return whole.with_name(whole.name + suffix)


def _check_folder(folder: Path, source: Path, overwrite: bool) -> None:
    """Refuse a folder that is not new, but for that of an earlier guarantee."""
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: no such folder (--output_dir)")
    if source.is_dir() and folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(f"{folder} holds the model itself: choose another --output_dir")
    if is_free(folder):
        return
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        earlier = bool(stored["zlpr"]["guarantee"])
    except (OSError, ValueError, KeyError, TypeError):
        earlier = False
    if not earlier:
        raise InputError(f"{folder} exists and holds no guarantee: choose another --output_dir")
    if not overwrite:
        raise InputError(f"{folder} exists: choose another --output_dir, or use --overwrite")
