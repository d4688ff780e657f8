"""LabelledData: splits in one form, and the labels they share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, List, Value
from numpy.typing import NDArray

from zlpr_hf.data.columns import check_column
from zlpr_hf.data.fingerprint import fingerprint
from zlpr_hf.data.label_columns import LabelColumns, RowLabels
from zlpr_hf.data.sources import Source, read_column
from zlpr_hf.data.splits import split_rows
from zlpr_hf.data.targets import dense_targets, padded_ids
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledData:
    """Train, validation and test rows in one form.

    Args:
        splits: Columns ``text``, ``text_pair`` where there are pairs, ``label_ids`` (ids of the
            labels that are not 0) and ``label_values`` (their values; NaN means not known). Of
            ``train`` also ``row``: its number where it was read, from 1.
        label_space: The labels, fitted on the training rows or declared by the data.
        label_descriptions: A few words on labels whose names say little.
        dropped: Labels that only validation or test rows had, and how often, where dropping them
            was asked for.
    """

    splits: DatasetDict
    label_space: LabelSpace
    label_descriptions: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def targets(self, split: str) -> NDArray[np.float32]:
        """Dense targets ``(N, L)`` of a split; NaN where a label is not known."""
        rows = self.splits[split]
        return dense_targets(rows["label_ids"], rows["label_values"], self.label_space.num_labels)

    def positive_ids(self, split: str) -> NDArray[np.int64]:
        """Ids of the labels ``(N, K)`` of a split, filled up with ``-100``; for hard labels."""
        return padded_ids(self.splits[split]["label_ids"])

    @property
    def is_hard(self) -> bool:
        """Whether every label is known, and there or not."""
        values = chain.from_iterable(rows["label_values"] for rows in self.splits.values())
        return set(chain.from_iterable(values)) <= {1.0}

    def fingerprints(self) -> dict[str, str]:
        """What is in the rows of each split, as a number; see :func:`fingerprint`."""
        return fingerprint(self.splits)

    def texts(self, split: str) -> list[tuple[str, ...]]:
        """Texts of each row of a split: one, or two for pairs."""
        rows = self.splits[split]
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
    validation_size: float = 0.1,
    test_size: float = 0.1,
    split_seed: int = 0,
    unseen_labels: str = "error",
) -> LabelledData:
    """Check the texts, read the labels, split off what is missing, and fit the label space.

    Args:
        source: Raw splits.
        labels: Where and how they keep their labels.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for pairs.
        group_column: Rows with equal values never end up in different splits.
        teacher_logits_column: Column of the training rows with a teacher's logits.
        validation_size: Share of the training rows for a missing validation split.
        test_size: Share of the training rows for a missing test split.
        split_seed: Same seed, same splits.
        unseen_labels: ``error`` or ``drop``: what to do with labels outside the training rows.

    Returns:
        The three splits in one form.

    Raises:
        InputError: If a column is missing, a row is wrong, or a label is unseen in training.
    """
    if unseen_labels not in ("error", "drop"):
        raise InputError(f"unseen_labels: expected error or drop, got {unseen_labels!r}")
    if "train" not in source.splits:
        name = next(iter(source.origins.values()))
        raise InputError(f"the data has no train split, only others such as {name}")
    labels.check_apart(text_column, text_pair_column)
    columns: dict[str, dict[str, list[Any]]] = {}
    rows: dict[str, list[RowLabels]] = {}
    groups: dict[str, list[object]] = {}
    declared: tuple[str, ...] | None = None
    for split, dataset in source.splits.items():
        origin = source.origins[split]
        if dataset.num_rows == 0:
            raise InputError(f"{origin}: the split holds no rows")
        columns[split] = {"text": read_texts(dataset, text_column, origin)}
        if text_pair_column:
            columns[split]["text_pair"] = read_texts(dataset, text_pair_column, origin)
        if teacher_logits_column and split == "train":
            columns[split]["teacher_logits"] = _logits(dataset, teacher_logits_column, origin)
        names, rows[split] = labels.read(dataset, origin)
        if split == "train":
            columns[split]["row"] = list(range(1, dataset.num_rows + 1))
            declared = names
        elif names != declared:
            raise InputError(f"{origin}: its labels are not those of {source.origins['train']}")
        if group_column:
            check_column(
                group_column,
                dataset.column_names,
                origin=origin,
                of="the groups",
                option="group_column",
            )
            groups[split] = read_column(dataset, group_column, origin)
            if any(isinstance(group, (list, dict)) for group in groups[split]):
                raise InputError(f"{origin}: group_column {group_column!r} must hold single values")
    if group_column:
        _check_groups(groups, source.origins)
    try:
        for split, size in (("test", test_size), ("validation", validation_size)):
            if split not in rows:
                _split_off(split, size, columns, rows, groups, split_seed)
        space = LabelSpace.fit(rows["train"]) if declared is None else LabelSpace(declared)
    except InputError as error:
        raise InputError(f"{source.origins['train']}: {error}") from error
    if declared is None:
        _warn_of_case(space.names, source.origins["train"])
    dropped = handle_unseen(rows, space, unseen_labels, source.origins)
    if teacher_logits_column:
        given = list(source.splits["train"][teacher_logits_column])
        _check_logits(given, space.num_labels, source.origins["train"])
    order = [split for split in ("train", "validation", "test") if split in rows]
    return LabelledData(
        DatasetDict({split: to_dataset(columns[split], rows[split], space) for split in order}),
        space,
        source.label_descriptions,
        dropped,
    )


def read_texts(dataset: Dataset, column: str, origin: str) -> list[str]:
    """Read a column of texts.

    Args:
        dataset: Rows as they were stored.
        column: Its name.
        origin: What to call the rows in a message.

    Returns:
        The texts.

    Raises:
        InputError: If there is no such column, or a row holds no text; with the row.
    """
    check_column(column, dataset.column_names, origin=origin, of="the text", option="text_column")
    values = read_column(dataset, column, origin)
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise InputError(
                f"{origin}, row {number}, column {column!r}: expected a text, got {value!r:.80}"
            )
    empty = [number for number, value in enumerate(values, start=1) if not value.strip()]
    if empty:
        logger.warning(
            "%s, column %r: %d of %d texts are empty, the first in row %d",
            origin, column, len(empty), len(values), empty[0],
        )  # fmt: skip
    return values


def _warn_of_case(names: Sequence[str], origin: str) -> None:
    """Two spellings of a label are two labels, and seldom meant to be."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            logger.warning(
                "%s: %r and %r are two labels; is one of them misspelt?", origin, other, name
            )


def _check_groups(groups: dict[str, list[object]], origins: dict[str, str]) -> None:
    seen: dict[object, str] = {}
    for split, values in groups.items():
        for value in dict.fromkeys(values):
            if value in seen:
                raise InputError(
                    f"group {value!r} is in {origins[seen[value]]} and in {origins[split]}; "
                    "a group must not cross splits"
                )
            seen[value] = split


def _split_off(
    split: str,
    size: float,
    columns: dict[str, dict[str, list[Any]]],
    rows: dict[str, list[RowLabels]],
    groups: dict[str, list[object]],
    seed: int,
) -> None:
    """Move a share of the training rows into a split of their own."""
    sets = [[name for name, value in row.items() if value >= 0.5] for row in rows["train"]]
    train_groups = groups.get("train")
    kept, moved = split_rows(sets, size=size, seed=seed, groups=train_groups)
    for column, values in list(columns["train"].items()):
        if column != "row":
            columns.setdefault(split, {})[column] = [values[index] for index in moved]
        columns["train"][column] = [values[index] for index in kept]
    rows[split] = [rows["train"][index] for index in moved]
    rows["train"] = [rows["train"][index] for index in kept]
    if train_groups is not None:
        groups[split] = [train_groups[index] for index in moved]
        groups["train"] = [train_groups[index] for index in kept]


def handle_unseen(
    rows: dict[str, list[RowLabels]], space: LabelSpace, action: str, origins: dict[str, str]
) -> dict[str, int]:
    """Refuse or drop labels that no training row has.

    Args:
        rows: Labels of each row of each split; what is dropped is removed from them.
        space: The labels there are.
        action: ``error`` or ``drop``.
        origins: What to call the splits in a message.

    Returns:
        Labels that were dropped, and from how many rows.

    Raises:
        InputError: If there is one and ``error`` was asked for; with the row.
    """
    unseen: Counter[str] = Counter()
    for split, labels in rows.items():
        for number, row in enumerate(labels, start=1):
            outside = [name for name in row if name not in space.label2id]
            if outside and action == "error":
                raise InputError(
                    f"{origins.get(split, split)}, row {number}: label {outside[0]!r} does not "
                    "occur in the training rows; correct it, add training rows, or set "
                    "unseen_labels drop"
                )
            for name in outside:
                del row[name]
            unseen.update(outside)
    for name, count in unseen.items():
        logger.warning("label %r is not in the training rows: dropped from %d rows", name, count)
    return dict(unseen)


def _logits(dataset: Dataset, column: str, origin: str) -> list[list[float]]:
    check_column(
        column,
        dataset.column_names,
        origin=origin,
        of="the teacher's logits",
        option="teacher_logits_column",
    )
    return read_column(dataset, column, origin)


def _check_logits(values: list[Any], num_labels: int, origin: str) -> None:
    for number, row in enumerate(values, start=1):
        try:
            finite = np.isfinite(np.asarray(row, dtype=np.float64))
        except (TypeError, ValueError):
            finite = np.zeros(0, dtype=bool)
        if finite.shape != (num_labels,) or not finite.all():
            raise InputError(
                f"{origin}, row {number}: expected {num_labels} finite numbers as the teacher's "
                f"logits, one a label, got {row!r:.60}"
            )


def to_dataset(columns: dict[str, list[Any]], rows: list[RowLabels], space: LabelSpace) -> Dataset:
    """Texts and labels of a split in one form.

    Args:
        columns: ``text``, ``text_pair`` and ``teacher_logits`` as far as there are any.
        rows: The labels of each row.
        space: Their ids.

    Returns:
        The columns of :class:`LabelledData`.
    """
    others = {"teacher_logits": List(Value("float32")), "row": Value("int64")}
    features = Features(
        {name: others.get(name, Value("string")) for name in columns}
        | {"label_ids": List(Value("int32")), "label_values": List(Value("float32"))}
    )
    content = {
        **columns,
        "label_ids": [[space.label2id[name] for name in row] for row in rows],
        "label_values": [list(row.values()) for row in rows],
    }
    return Dataset.from_dict(content, features=features)
