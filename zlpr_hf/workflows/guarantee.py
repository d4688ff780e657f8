"""A guarantee for a trained model: calibration rows, offsets, and the folder of the new model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.data.seen_texts import SEEN_FILE, SeenTexts
from zlpr_hf.errors import InputError
from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.files.atomic import new_folder, write_whole
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.calibration import Calibration
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.metrics.multi_label import compute_label_scores, compute_multi_label_metrics
from zlpr_hf.metrics.risk_control import measure_risks
from zlpr_hf.metrics.top_k import MAX_DENSE_LABELS
from zlpr_hf.reports.disagreements import EvaluatedSplit
from zlpr_hf.reports.html import render_html_report
from zlpr_hf.reports.model_card import CardFacts, write_model_card
from zlpr_hf.reports.report import MODEL_ROW, Report, align_columns
from zlpr_hf.reports.sanity_checks import check_run
from zlpr_hf.thresholds import move_logits
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments
from zlpr_hf.workflows.output_dir import (
    CONFIG_FILE,
    LOGITS_FILE,
    OUT_OF_FOLD_FILE,
    PROFILE_FILE,
    REPORT_FILE,
    RESULTS_FILE,
)
from zlpr_hf.zlpr_config import ZLPRConfig

logger = logging.getLogger(__name__)

UNREADABLE_REMEDY = "remove it, or give rows with --dataset"

BEFORE_ROW = "before the guarantee"
TITLES = {
    "recall": "labels found",
    "precision": "predicted labels right",
    "false_labels": "false labels per text",
    "labels_per_text": "labels per text",
}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Logits of a model, as it is saved, and targets ``(N, L)``.

    ``origin`` names them in messages, ``source`` in the files of the model.
    """

    origin: str
    source: str
    logits: Floats
    targets: Floats


def check_model(classifier: Classifier) -> None:
    """Refuse models whose decisions no offset can move.

    Raises:
        InputError: If so.
    """
    if classifier.label_sets is not None:
        raise InputError("guarantees are not supported for models that predict whole label sets")
    if isinstance(classifier.model, OnnxModel):
        raise InputError(
            "guarantees are not supported for ONNX models; use the torch model, then export it"
        )
    if classifier.label_space.num_labels > MAX_DENSE_LABELS:
        raise InputError(
            f"guarantees are not supported for more than {MAX_DENSE_LABELS:,} labels, got "
            f"{classifier.label_space.num_labels:,}"
        )


def find_new_texts(model: str, texts: EvaluationSet) -> NDArray[np.int64]:
    """Return the numbers, from 0, of the texts that the model was not trained on.

    Raises:
        InputError: If there is none.
    """
    seen = SeenTexts.find(model)
    if seen is None:
        return np.arange(len(texts.texts))
    new = np.flatnonzero(~seen.find_trained(texts.texts))
    if not new.size:
        raise InputError(
            f"{texts.origin}: the model was trained on all of these texts, so that they promise "
            "nothing about new ones; give new texts with --dataset"
        )
    return new


def find_stored_rows(folder: Path, labels: int) -> Rows | None:
    """Return the rows that a run saved for calibration: out-of-fold, or of its validation split.

    Raises:
        InputError: If a file is damaged or of another model.
    """
    path = folder / OUT_OF_FOLD_FILE
    if path.is_file():
        found = read_arrays(path, remedy=UNREADABLE_REMEDY)
        return _rows_of(found, "", path, "out-of-fold training rows", labels)
    return find_saved_split(folder, "validation", labels)


def find_saved_split(folder: Path, split: str, labels: int) -> Rows | None:
    """Return the saved logits of a split, if there are any."""
    path = folder / LOGITS_FILE
    if not path.is_file():
        return None
    return _rows_of(
        read_arrays(path, remedy=UNREADABLE_REMEDY), f"{split}_", path, f"{split} split", labels
    )


def _rows_of(
    found: Mapping[str, Floats], prefix: str, path: Path, source: str, labels: int
) -> Rows | None:
    logits, targets = (found.get(f"{prefix}{name}") for name in ("logits", "targets"))
    if logits is None or targets is None:
        return None
    if logits.shape != targets.shape or logits.shape[1:] != (labels,):
        raise InputError(
            f"{path}: expected logits and targets of {labels} labels, got {logits.shape} and "
            f"{targets.shape}; remove the file, or give rows with --dataset"
        )
    return Rows(f"{path}, {source}", source, logits, targets)


def own_test_split(
    classifier: Classifier, model: str, options: Mapping[str, Any]
) -> EvaluatedSplit | None:
    """Return the test split of the data that a model was trained on; None if it is not there.

    Saved logits are used if they are of the same rows; others are computed.
    """
    try:
        data = load_own_data(model, read_data_arguments(model, otherwise="no test split"))
        if data.split_of("test") != "test":
            return None
        rows = EvaluationSet.from_split(data, "test", classifier.label_space, "test split")
    except (InputError, OSError) as error:
        logger.warning("the test split cannot be read (%s): the report is left out", error)
        return None
    labels = classifier.label_space.num_labels
    stored = find_saved_split(Path(model).expanduser(), "test", labels)
    as_saved = options["long_texts"] in (None, classifier.stored_long_texts)
    if as_saved and stored is not None and _same(stored.targets, rows.targets):
        logits = stored.logits
    else:
        logits = classifier.compute_logits(rows.texts, **options)
    places = [data.place("test", row) for row in range(len(rows.texts))]
    return EvaluatedSplit(logits, classifier.decide(logits), rows.targets, rows.texts, places)


def _same(first: Floats, second: Floats) -> bool:
    return np.array_equal(first, second, equal_nan=True)


def render_effect(guarantee: Guarantee, classifier: Classifier, rows: Any, where: str) -> str:
    """Return a table of the risks of a model and of the one with the guarantee."""
    decided = (
        classifier.decide(rows.logits),
        guarantee.keep_limits(classifier.thresholds).apply(move(rows.logits, guarantee)),
    )
    before, after = (measure_risks(each, rows.targets) for each in decided)
    lines = [[where, "before", "after"]]
    lines += [
        [title, f"{before[name]:.3f}", f"{after[name]:.3f}"] for name, title in TITLES.items()
    ]
    return align_columns(lines)


def save_guaranteed(
    classifier: Classifier,
    guarantee: Guarantee,
    folder: Path,
    *,
    model: str,
    test: EvaluatedSplit | None,
    calibration: EvaluationSet | None,
    long_texts: Any = None,
) -> None:
    """Write the model with its offsets, and with the files of its run that still hold.

    Args:
        classifier: The model before the guarantee.
        guarantee: The offsets.
        folder: The new folder; it appears complete or not at all.
        model: The folder or Hub id of the model.
        test: The test split of its run, on which card and report are computed anew.
        calibration: The calibration texts, unless they are of the run.
        long_texts: How long texts were read (default: as stored).
    """
    source = Path(model).expanduser()
    with new_folder(folder) as part:
        recorded = _add_earlier_offsets(guarantee, classifier)
        classifier.save(part, guarantee.thresholds, long_texts=long_texts, guarantee=recorded)
        for name in (CONFIG_FILE, PROFILE_FILE, SEEN_FILE):
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        seen = SeenTexts.find(model)
        if calibration is not None and seen is not None:
            seen.with_validation(calibration.texts).save(part)
        as_saved = long_texts in (None, classifier.stored_long_texts)
        for name in (LOGITS_FILE, OUT_OF_FOLD_FILE) if as_saved else ():
            _move_stored_logits(source / name, part / name, guarantee)
        if test is not None and (source / RESULTS_FILE).is_file():
            _write_report(classifier, guarantee, part, folder, source, test)


def _add_earlier_offsets(guarantee: Guarantee, classifier: Classifier) -> Guarantee:
    """Return a guarantee whose offsets are all that the bias holds, earlier ones too."""
    config: Any = classifier.model.config
    earlier = Guarantee.from_config(ZLPRConfig.read(config).guarantee)
    if earlier is None:
        return guarantee
    pairs = zip(guarantee.offsets, earlier.offsets, strict=True)
    return replace(guarantee, offsets=tuple(map(sum, pairs)))


def _move_stored_logits(source: Path, target: Path, guarantee: Guarantee) -> None:
    """Write saved logits in the units of the new model, so that the next guarantee is right."""
    if not source.is_file():
        return
    moved = {
        name: move(values, guarantee) if name.endswith("logits") else values
        for name, values in read_arrays(source, remedy=UNREADABLE_REMEDY).items()
        if name != "decisions"
    }
    np.savez_compressed(target, **moved)  # type: ignore[arg-type]


def move(logits: Any, guarantee: Guarantee) -> Floats:
    """Return logits after the offsets; those of texts without content stay."""
    return move_logits(logits, guarantee.offsets)


def _write_report(
    classifier: Classifier,
    guarantee: Guarantee,
    part: Path,
    folder: Path,
    source: Path,
    test: EvaluatedSplit,
) -> None:
    """Write results, card and page of the run with the decisions of the new model.

    Comparisons that need the decisions of the baselines, which no file holds, are left out.
    """
    old, names = Report.load(source / RESULTS_FILE), classifier.label_space.names
    logits = move(test.logits, guarantee)
    limits = guarantee.keep_limits(classifier.thresholds)
    decided = limits.apply(logits)
    moved = replace(test, logits=logits, decided=decided)
    metrics = compute_multi_label_metrics(logits, moved.targets, predictions=decided)
    validation = find_saved_split(part, "validation", len(names))
    on_validation = (
        {}
        if validation is None
        else compute_multi_label_metrics(
            validation.logits, validation.targets, predictions=limits.apply(validation.logits)
        )
    )
    report = replace(
        old,
        output_dir=str(folder),
        test={
            **{row: values for row, values in old.test.items() if row != MODEL_ROW},
            BEFORE_ROW: old.metrics,
            MODEL_ROW: metrics,
        },
        validation=on_validation,
        label_scores=compute_label_scores(logits, moved.targets, names, predictions=decided),
        calibration=Calibration.measure(logits, moved.targets),
        warnings=check_run(old.profile, {"test": metrics}),
        intervals=compute_intervals(logits, moved.targets, predictions=decided),
        differences={},
        weak_labels=[],
        # The page has the test texts only. Scores tell doubtful tags before the offsets.
        disagreements=[each for each in old.disagreements if each.split == "test"],
        guarantee=_add_earlier_offsets(guarantee, classifier),
    )
    page = render_html_report(report, {"test": moved}, names=names)
    write_whole(part / REPORT_FILE, page)
    config = parse_arguments([str(source / CONFIG_FILE)])
    facts = CardFacts(
        name=str(folder),
        base_model=config.model.model_name_or_path,
        max_length=config.model.max_length,
        dataset=config.data.dataset_name or config.data.train_file,
        license=config.model.license,
        language=config.model.language,
    )
    write_model_card(part, report, facts)
    report.save(part / RESULTS_FILE)
