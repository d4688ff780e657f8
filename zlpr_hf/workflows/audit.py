"""Audit of the training rows of a run: cells that are likely wrong, and training without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import DOUBTFUL_PROBABILITY
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.near_duplicates import find_near_duplicates
from zlpr_hf.errors import InputError
from zlpr_hf.files.paths import shorten_path
from zlpr_hf.inference.model_folder import describe_unfinished
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.cell_errors import CellErrors, find_cell_errors
from zlpr_hf.metrics.paired_bootstrap import Difference, paired_bootstrap
from zlpr_hf.reports.audit import Audit, DuplicatePair, Kind, LabelAudit, Suspect
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments
from zlpr_hf.workflows.cross_fit import StoredLogits
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import (
    load_data,
    load_own_data,
)
from zlpr_hf.workflows.masked_copy import write_masked_copy
from zlpr_hf.workflows.output_dir import CONFIG_FILE, RESULTS_FILE
from zlpr_hf.workflows.ratings import add_ratings

AUDIT_FOLDER, MASKED_FOLDER = "audit", "masked"
MAX_DUPLICATES = 1000

Bools = NDArray[np.bool_]
Log = Callable[[str], None]


def audit_run(
    run: Path,
    *,
    mask: bool = False,
    retrain: bool = False,
    mask_above: float = DOUBTFUL_PROBABILITY,
    log: Log = print,
) -> tuple[Audit, Path]:
    """Find the training cells of a run that are likely wrong, and write them into ``run/audit``.

    Args:
        run: Folder of a finished run with out-of-fold logits.
        mask: Also write a copy of the data without the doubtful cells.
        retrain: Also train on that copy, and compare both models on the same test rows.
        mask_above: Probability of an error above which a cell is doubtful: listed, and masked.
        log: Receives the notes of the training.

    Returns:
        The findings, and the folder that holds them.

    Raises:
        InputError: If the run has no out-of-fold logits, or its data has changed.
    """
    config = read_run_config(run)
    stored = StoredLogits.load(run)
    data = load_own_data(str(run), config.data)
    stored.check(data, run)
    errors = find_cell_errors(stored.logits, stored.targets)
    duplicates = find_differing_duplicates(data, stored.targets)
    found = Audit(
        run=shorten_path(str(run)),
        rows=len(stored.logits),
        cells=int(known_mask(stored.targets).sum()),
        folds=len(np.unique(stored.folds)),
        suspects=list_suspects(data, stored, errors, duplicates, mask_above),
        labels=count_labels(data.label_space.names, stored.targets, errors, mask_above),
        duplicates=[_describe_pair(data, stored.targets, *pair) for pair in duplicates],
        has_test_rows=data.split_of("test") == "test",
    )
    found = add_ratings(found, config.data, data)
    folder = run / AUDIT_FOLDER
    folder.mkdir(exist_ok=True)
    if mask or retrain:
        masked = np.nan_to_num(errors.probabilities, nan=0) > mask_above
        other = run.resolve().with_name(f"{run.resolve().name}-masked")
        copy = write_masked_copy(data, masked, config, folder / MASKED_FOLDER, str(other))
        found = replace(found, masked_copy=shorten_path(str(copy)))
        if retrain:
            _train_masked(copy, other, log)
            differences = compare_runs(run, other, data)
            found = replace(found, retrained=shorten_path(str(other)), differences=differences)
    found.save(folder)
    return found, folder


def read_run_config(run: Path) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        InputError: If the folder holds no finished run, or it streamed its rows.
    """
    if not (run / CONFIG_FILE).is_file() or not (run / RESULTS_FILE).is_file():
        raise InputError(
            f"{run}: expected a finished run of zlpr train (with {RESULTS_FILE})"
            f"{describe_unfinished(run)}"
        )
    config = parse_arguments([str(run / CONFIG_FILE)])
    if config.data.streaming:
        raise InputError(f"{run}: not supported for streamed rows; train without streaming")
    return config


def count_labels(
    names: Sequence[str], targets: Any, errors: CellErrors, mask_above: float
) -> list[LabelAudit]:
    """Return the counts of each label, those with most wrong cells first."""
    chances = np.nan_to_num(errors.probabilities, nan=0)
    tagged = known_mask(targets) & ~errors.missing
    listed = chances > mask_above
    columns = zip(
        names,
        tagged.sum(0).tolist(),
        (listed & errors.missing).sum(0).tolist(),
        (chances * errors.missing).sum(0).tolist(),
        (listed & tagged).sum(0).tolist(),
        (chances * tagged).sum(0).tolist(),
        strict=True,
    )
    found = [LabelAudit(*each) for each in columns]
    return sorted(found, key=lambda each: -each.missing_estimate - each.superfluous_estimate)


def list_suspects(
    data: LabelledData,
    stored: StoredLogits,
    errors: CellErrors,
    duplicates: Sequence[tuple[int, int, float]],
    mask_above: float,
) -> list[Suspect]:
    """Return the listed cells, those most likely wrong first.

    Of two near-duplicates that differ in a label, the less likely cell is listed too.
    """
    chances = np.nan_to_num(errors.probabilities, nan=0)
    twins = _differing_cells(stored.targets, chances, duplicates)
    cells = {*map(tuple, np.argwhere(chances > mask_above).tolist()), *twins}
    ranks = np.nan_to_num(errors.scores, nan=0)
    order = sorted(cells, key=lambda cell: (-ranks[cell], cell))
    scores, texts = compute_scores(stored.logits), data.texts("train")
    usual = _usual_scores(scores, stored.targets)
    places, names = data.places.get("train"), data.label_space.names
    suspects = []
    for row, label in order:
        kind: Kind = "missing" if errors.missing[row, label] else "superfluous"
        why = f"model score {scores[row, label]:.2f}; "
        have = "without the tag" if kind == "missing" else "with the tag"
        why += f"texts {have} have {usual[kind][label]:.2f} (median)"
        if (row, label) in twins:
            why += (
                f"; {data.place('train', twins[row, label])} has nearly the same text and differs"
            )
        lines = () if places is None else places.lines or places.numbers
        suspects.append(
            Suspect(
                file="train" if places is None else places.origin,
                line=int(lines[row]) if lines else row + 1,
                row=row,
                text=" / ".join(texts[row]),
                label=names[label],
                kind=kind,
                score=float(ranks[row, label]),
                probability=float(chances[row, label]),
                why=why,
                masked=bool(chances[row, label] > mask_above),
            )
        )
    return suspects


def _usual_scores(scores: Any, targets: Any) -> dict[Kind, list[float]]:
    """Return the median score per label of the cells without and with the tag."""
    known, tagged = known_mask(targets), np.nan_to_num(targets) >= 0.5
    groups: dict[Kind, Bools] = {"missing": known & ~tagged, "superfluous": known & tagged}
    return {
        kind: [
            float(np.median(column[cells])) if cells.any() else 0.0
            for column, cells in zip(scores.T, group.T, strict=True)
        ]
        for kind, group in groups.items()
    }


def find_differing_duplicates(data: LabelledData, targets: Any) -> list[tuple[int, int, float]]:
    """Return pairs of rows with almost the same text and different labels, and their similarity."""
    pairs = find_near_duplicates(data.texts("train"))
    differ = [pair for pair in pairs if _find_differences(targets, *pair[:2]).any()]
    return sorted(differ, key=lambda pair: -pair[2])[:MAX_DUPLICATES]


def _find_differences(targets: Any, first: int, second: int) -> Bools:
    """Return the labels that one of two rows has and the other one lacks."""
    rows = np.asarray(targets)[[first, second]]
    known, tagged = known_mask(rows), np.nan_to_num(rows) >= 0.5
    differ: Bools = known.all(0) & (tagged[0] != tagged[1])
    return differ


def _differing_cells(
    targets: Any, chances: Any, duplicates: Sequence[tuple[int, int, float]]
) -> dict[tuple[int, int], int]:
    """Return the less likely cell of each difference, and the row of the other one."""
    found: dict[tuple[int, int], int] = {}
    for first, second, _ in duplicates:
        for label in np.flatnonzero(_find_differences(targets, first, second)).tolist():
            is_first = chances[first, label] >= chances[second, label]
            row, other = (first, second) if is_first else (second, first)
            found.setdefault((row, label), other)
    return found


def _describe_pair(
    data: LabelledData, targets: Any, first: int, second: int, similarity: float
) -> DuplicatePair:
    texts, names = data.texts("train"), data.label_space.names
    tags = [
        tuple(names[label] for label in np.flatnonzero(np.nan_to_num(targets[row]) >= 0.5))
        for row in (first, second)
    ]
    return DuplicatePair(
        (data.place("train", first), data.place("train", second)),
        (" / ".join(texts[first]), " / ".join(texts[second])),
        similarity,
        (tags[0], tags[1]),
    )


def _train_masked(config_file: Path, output_dir: Path, log: Log) -> None:
    """Train on the masked copy, unless that is done; resume a run that was killed."""
    words = [str(config_file), "--resume_from_checkpoint", "true"]
    results = output_dir / RESULTS_FILE
    if results.is_file():
        trained_on = json.loads(results.read_text(encoding="utf-8"))["provenance"]["data"]
        if trained_on == load_data(parse_arguments([str(config_file)]).data).fingerprints():
            log(f"{output_dir} is trained on this copy and not trained again")
            return
        words = [str(config_file), "--overwrite_output_dir", "true"]
    finetune_config(parse_arguments(words), log=log)


def compare_runs(run: Path, other: Path, data: LabelledData) -> dict[str, Difference]:
    """Return the differences of another run from a run, on the tags that the original data has.

    The rows are those of the test split. Without one, they are the training rows, each decided by
    a model and offsets that did not see it.

    Raises:
        InputError: If there is no test split, and a run of an earlier release lacks decisions.
    """
    split = data.split_of("test")
    decided = {
        key: [_decide(folder, data, split)]
        for key, folder in (("original", run), ("masked", other))
    }
    return paired_bootstrap(decided, data.targets(split), reference="original")["masked"]


def _decide(run: Path, data: LabelledData, split: str) -> Bools:
    """Return the decisions of a run, with the labels in the order of the data."""
    from zlpr_hf.inference.classifier import Classifier

    classifier = Classifier.load(str(run))
    order = [classifier.label_space.label2id[name] for name in data.label_space.names]
    if split == "test":
        decided = np.asarray(classifier.decide(classifier.compute_logits(data.texts(split))))
    else:
        stored = StoredLogits.load(run).decisions
        if stored is None:
            raise InputError(
                f"{run}: no out-of-fold decisions to compare, as in runs of earlier releases and "
                "models with a guarantee; compare a new run"
            )
        decided = stored
    return decided[:, order]
