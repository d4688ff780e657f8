"""LabelledData: splits in one form, and the labels they share."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from numpy.typing import NDArray

from zlpr_hf.choices import UnseenLabels
from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.data.data_sets import SPLITS
from zlpr_hf.data.folds import FOLDS, has_few_rows
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.labelled_rows import read_splits
from zlpr_hf.data.lookalikes import warn_of_lookalikes
from zlpr_hf.data.made_splits import make_splits
from zlpr_hf.data.reading import Reading
from zlpr_hf.data.row_places import RowPlaces
from zlpr_hf.data.seen_texts import SeenTexts
from zlpr_hf.data.sources import Source
from zlpr_hf.data.split_rows import ROW_WEIGHT, SplitRows
from zlpr_hf.data.targets import dense_targets, padded_ids
from zlpr_hf.data.unseen_labels import handle_unseen
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)

HASHED_ROWS = 1000
"""Rows hashed per batch; part of the definition of a fingerprint."""


@dataclass(frozen=True)
class LabelledData:
    """Train, validation and test rows in one form.

    Args:
        splits: Columns ``text``, ``text_pair`` for pairs, ``label_ids`` (ids of the labels that are
            not 0) and ``label_values`` (their values; NaN means not known); ``train`` also has
            ``row``, the number of the row in its source, from 1.
        label_space: The labels, fitted on the training rows or declared by the data.
        label_descriptions: A few words on labels whose names say little.
        dropped: Labels dropped because training has none, and from how many rows.
        reading: How the training rows were read.
        places: Where the rows of each split come from.
        unused: Texts of training rows that ``max_train_samples`` leaves out.
        folds: Fold of each training row, ``(N,)``, in a cross-fitted run; each fold is held out
            once, and together they stand for a validation or test split that is missing.
    """

    splits: DatasetDict
    label_space: LabelSpace
    label_descriptions: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    reading: Reading | None = None
    unused: Sequence[tuple[str, ...]] = ()
    places: Mapping[str, RowPlaces] = field(default_factory=dict)
    folds: NDArray[np.int64] | None = None

    def split_of(self, split: str) -> str:
        """Return the split whose rows are used for a split: ``train`` for a missing one."""
        return "train" if self.folds is not None and split not in self.splits else split

    def place(self, split: str, row: int) -> str:
        """Return where a row comes from, such as ``reviews.csv:57``; ``row`` counts from 0."""
        split = self.split_of(split)
        places = self.places.get(split)
        return f"{split} row {row + 1}" if places is None else places.place(row)

    def targets(self, split: str) -> NDArray[np.float32]:
        """Dense targets ``(N, L)`` of a split; NaN where a label is not known."""
        rows = self.splits[self.split_of(split)]
        return dense_targets(rows["label_ids"], rows["label_values"], self.label_space.num_labels)

    def positive_ids(self, split: str) -> NDArray[np.int64]:
        """Label ids ``(N, K)`` of a split, padded with ``-100``; for hard labels."""
        return padded_ids(self.splits[self.split_of(split)]["label_ids"])

    @property
    def is_hard(self) -> bool:
        """Whether every label is known, and either 0 or 1."""
        values = chain.from_iterable(rows["label_values"] for rows in self.splits.values())
        return set(chain.from_iterable(values)) <= {1.0}

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split; see :func:`fingerprint`."""
        return fingerprint(self.splits)

    def texts(self, split: str) -> list[tuple[str, ...]]:
        """Texts of each row of a split: one, or two for pairs."""
        rows = self.splits[self.split_of(split)]
        columns = [rows[name] for name in ("text", "text_pair") if name in rows.column_names]
        return list(zip(*columns, strict=True))


def build_labelled_data(
    source: Source,
    labels: LabelColumns,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    group_column: str | None = None,
    teacher_logits_column: str | None = None,
    weight_column: str | None = None,
    validation_size: float = 0.1,
    test_size: float = 0.1,
    split_seed: int = 0,
    max_train_samples: int | None = None,
    folds: int | None = 0,
    unseen_labels: UnseenLabels = "error",
    known: Sequence[SeenTexts] = (),
    fold_blocker: SeenTexts | None = None,
) -> LabelledData:
    """Check the texts, read the labels, split off missing splits, and fit the label space.

    Args:
        source: Raw splits.
        labels: Columns and form of their labels.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for pairs.
        group_column: Rows with equal values never end up in different splits; rows without a value
            are groups of their own.
        teacher_logits_column: Column of the training rows with a teacher's logits.
        weight_column: Column of the training rows with the weight of each in the loss.
        validation_size: Share of the training rows for a missing validation split.
        test_size: Share of the training rows for a missing test split.
        split_seed: Random seed of the splits and folds.
        max_train_samples: Number of training rows that are used, the first ones (default: all).
            Missing splits are drawn from all rows.
        folds: Number of folds of the training rows in place of a validation split; 0 for none
            (default), None for 5 if there are few rows and no validation split.
        unseen_labels: ``error`` or ``drop``: labels that no training row has.
        known: Earlier runs, the first one counts: their rows keep their split.
        fold_blocker: A run that prevents folds by default if it knows one of the texts.

    Raises:
        InputError: If a column is missing, a row is wrong, or a label is unseen in training.
    """
    if "train" not in source.splits:
        name = next(iter(source.origins.values()))
        raise InputError(f"the data has no train split, only others such as {name}")
    labels.check_apart(text_column, text_pair_column)
    text_columns = [name for name in (text_column, text_pair_column) if name]
    rows, reader = read_splits(source.splits, source.origins, labels, text_columns, group_column)
    names = reader.names
    train, origin = source.splits["train"], source.origins["train"]
    logits: list[Any] = []
    if teacher_logits_column:
        logits = _read_logits(train, teacher_logits_column, origin)
        rows["train"].columns["teacher_logits"] = [logits[i - 1] for i in rows["train"].numbers]
    if weight_column:
        if labels.join_rows:
            raise InputError("weight_column: cannot be combined with join_rows true")
        weights = _read_weights(train, weight_column, origin)
        rows["train"].columns[ROW_WEIGHT] = [weights[i - 1] for i in rows["train"].numbers]
    example = rows["train"].example()
    rows["train"].columns["row"] = list(rows["train"].numbers)
    try:
        few = is_cross_fitted_by_default(rows)
        if folds is None:
            texts = [key for key in rows["train"].text_keys() if any(key)]
            blocked = fold_blocker is not None and any(fold_blocker.places(texts))
            folds = FOLDS if few and not blocked else 0
        sizes = {} if folds and few else {"test": test_size}
        sizes |= {} if folds else {"validation": validation_size}
        missing = {split: size for split, size in sizes.items() if split not in rows}
        rows |= make_splits(rows["train"], missing, split_seed, known, origin=origin)
        for split in missing:
            for name in ("row", ROW_WEIGHT):
                rows[split].columns.pop(name, None)
        space = LabelSpace.fit(rows["train"].labels) if names is None else LabelSpace(names)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
    if names is None:
        warn_of_lookalikes(space.names, origin)
    dropped = handle_unseen(rows, space, unseen_labels, source.origins)
    unused: Sequence[tuple[str, ...]] = ()
    if max_train_samples is not None:
        unused = rows["train"].texts()[max_train_samples:]
        count = len(rows["train"].labels) - len(unused)
        rows["train"] = rows["train"].take(range(count))
    try:
        fold_of_row = rows["train"].folds(folds, split_seed) if folds else None
    except InputError as error:
        part = f", {count} rows (max_train_samples)" if unused else ""
        raise InputError(f"{origin}{part}: {error}") from error
    places = {
        split: RowPlaces.from_source(
            source, split if split in source.splits else "train", each.numbers
        )
        for split, each in rows.items()
    }
    _check_logits(logits, space.num_labels, origin)
    splits = {split: rows[split].to_dataset(space) for split in SPLITS if split in rows}
    reading = Reading.from_reader(
        reader, labels, text_columns, format=source.format, names=space.names, example=example
    )
    return LabelledData(
        DatasetDict(splits),
        space,
        source.label_descriptions,
        dropped,
        reading,
        unused=unused,
        places=places,
        folds=fold_of_row,
    )


def is_cross_fitted_by_default(rows: Mapping[str, SplitRows]) -> bool:
    """Return whether the rows are few and no validation split is given."""
    labels = {name for row in rows["train"].labels for name in row}
    return "validation" not in rows and has_few_rows(len(rows["train"].labels), len(labels))


def _read_logits(dataset: Dataset, column: str, origin: str) -> list[list[float]]:
    names, option = dataset.column_names, "teacher_logits_column"
    check_column(column, names, origin=origin, of="the teacher's logits", option=option)
    return read_column(dataset, column, origin)


def _read_weights(dataset: Dataset, column: str, origin: str) -> list[float]:
    names, option = dataset.column_names, "weight_column"
    check_column(column, names, origin=origin, of="the weights", option=option)
    weights = []
    for number, cell in enumerate(read_column(dataset, column, origin), start=1):
        try:
            weight = float(cell)
        except (TypeError, ValueError):
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise InputError(
                f"{origin}, row {number}, column {column!r}: expected a weight of 0 or more, got "
                f"{cell!r:.60}"
            )
        weights.append(weight)
    if not any(weights):
        raise InputError(f"{origin}, column {column!r}: all weights are 0")
    return weights


def _check_logits(values: Sequence[Any], num_labels: int, origin: str) -> None:
    for number, row in enumerate(values, start=1):
        try:
            finite = np.isfinite(np.asarray(row, dtype=np.float64))
        except (TypeError, ValueError):
            finite = np.zeros(0, dtype=bool)
        if finite.shape != (num_labels,) or not finite.all():
            raise InputError(
                f"{origin}, row {number}: expected {num_labels} finite numbers as the teacher's "
                f"logits, one per label, got {row!r:.60}"
            )


def fingerprint(splits: Mapping[str, Dataset]) -> dict[str, str]:
    """Return the SHA-256 of the rows of each split, in their order.

    Unlike the fingerprints of ``datasets`` it depends only on the content: not on how the rows were
    made, and not on the release of a library.

    Example:
        >>> rows = {"train": Dataset.from_dict({"text": ["a"], "label_ids": [[0]]})}
        >>> fingerprint(rows)["train"][:8]
        'cf97a128'
    """
    found = {}
    for name, rows in splits.items():
        digest = hashlib.sha256()
        for batch in rows.with_format(None).iter(batch_size=HASHED_ROWS):
            digest.update(json.dumps(batch, sort_keys=True).encode())
        found[name] = digest.hexdigest()
    return found
