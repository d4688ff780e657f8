"""SplitRows: the rows of one split while the splits are being made."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zlpr_hf.data.folds import assign_folds
from zlpr_hf.data.label_cells import RowLabels
from zlpr_hf.data.seen_texts import text_key
from zlpr_hf.data.splits import split_rows
from zlpr_hf.labels import LabelSpace

ROW_WEIGHT = "row_weight"
"""Column with the weight of each training row in the loss."""


@dataclass
class SplitRows:
    """Rows of one split while the splits are being made.

    Args:
        columns: Texts and other values of each row.
        labels: Labels of each row.
        numbers: Number of each row in its source, from 1.
        groups: Groups of each row, if rows are grouped: none where the cell is empty, and several
            where rows of one text were joined.
    """

    columns: dict[str, list[Any]]
    labels: list[RowLabels]
    numbers: list[int]
    groups: list[tuple[Hashable, ...]] | None = None

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> SplitRows:
        """Return some of the rows."""
        return SplitRows(
            {name: [values[i] for i in indices] for name, values in self.columns.items()},
            [self.labels[i] for i in indices],
            [self.numbers[i] for i in indices],
            None if self.groups is None else [self.groups[i] for i in indices],
        )

    def example(self) -> tuple[int, tuple[str, ...], RowLabels]:
        """Return the number, the texts and the labels of the first row with a label."""
        index = next((i for i, each in enumerate(self.labels) if positives(each)), 0)
        return self.numbers[index], self.texts()[index], self.labels[index]

    def texts(self) -> list[tuple[str, ...]]:
        """Return the texts of each row: one, or two for pairs."""
        columns = [self.columns[name] for name in ("text", "text_pair") if name in self.columns]
        return list(zip(*columns, strict=True))

    def text_keys(self) -> list[tuple[str, ...]]:
        """Return the texts of each row in a form in which equal texts are equal."""
        return [text_key(row) for row in self.texts()]

    def rows_by_text(self) -> dict[tuple[str, ...] | int, list[int]]:
        """Return the indices of the rows of each text."""
        found: dict[tuple[str, ...] | int, list[int]] = {}
        for index, key in enumerate(self.text_keys()):
            # Empty texts are not one text: their labels belong to texts that are missing.
            found.setdefault(key if any(key) else index, []).append(index)
        return found

    def contradictions(self) -> Iterator[list[int]]:
        """Yield the rows of each text that has different labels in several rows."""
        for indices in self.rows_by_text().values():
            if len(indices) > 1 and any(
                not _same(self.labels[indices[0]], self.labels[i]) for i in indices[1:]
            ):
                yield indices

    def join(self) -> SplitRows:
        """Return one row per text, with the labels of all its rows.

        Of two values of a label, the higher one counts, and a known one before an unknown one.
        """
        rows = self.rows_by_text()
        joined = self.take([indices[0] for indices in rows.values()])
        joined.labels = [
            join_labels([self.labels[i] for i in indices]) for indices in rows.values()
        ]
        if self.groups is not None:
            joined.groups = [
                tuple(dict.fromkeys(chain.from_iterable(self.groups[i] for i in indices)))
                for indices in rows.values()
            ]
        return joined

    def draw(self, size: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the rows that stay and of a share that is split off.

        The split is stratified by label; rows of a unit stay together.
        """
        sets = [positives(row) for row in self.labels]
        return split_rows(sets, size=size, seed=seed, groups=self.units())

    def folds(self, folds: int, seed: int) -> NDArray[np.int64]:
        """Return the fold of each row, stratified by label; equal texts are in one fold."""
        sets = [positives(row) for row in self.labels]
        return assign_folds(sets, folds, seed=seed, groups=self.units())

    def units(self) -> list[int] | None:
        """Return the unit of each row, or None if no unit has several rows.

        Rows with a text or a group in common are in one unit, and so are rows that others link.
        Empty texts are not one text.
        """
        count = len(self.labels)
        nodes: dict[Hashable, int] = {}
        links: list[tuple[int, int]] = []
        for row, key in enumerate(self.text_keys()):
            shared: list[Hashable] = [("text", key)] if any(key) else []
            if self.groups is not None:
                shared += [("group", group) for group in self.groups[row]]
            links += [(row, count + nodes.setdefault(each, len(nodes))) for each in shared]
        if len(links) == len(nodes):
            return None
        rows, shared_nodes = np.array(links, dtype=np.int64).reshape(-1, 2).T
        size = count + len(nodes)
        graph = coo_array((np.ones(len(links)), (rows, shared_nodes)), shape=(size, size))
        found: list[int] = connected_components(graph, directed=False)[1][:count].tolist()
        return found

    def to_dataset(self, space: LabelSpace) -> Dataset:
        """Return the rows with the columns of :class:`LabelledData`."""
        others = {
            "teacher_logits": List(Value("float32")),
            ROW_WEIGHT: Value("float32"),
            "row": Value("int64"),
        }
        features = Features(
            {name: others.get(name, Value("string")) for name in self.columns}
            | {"label_ids": List(Value("int32")), "label_values": List(Value("float32"))}
        )
        content = {
            **self.columns,
            "label_ids": [[space.label2id[name] for name in row] for row in self.labels],
            "label_values": [list(row.values()) for row in self.labels],
        }
        return Dataset.from_dict(content, features=features)


def positives(labels: RowLabels) -> list[str]:
    """Return the labels of a row that apply."""
    return [name for name, value in labels.items() if value >= 0.5]


def join_labels(rows: Sequence[RowLabels]) -> RowLabels:
    """Return the labels of several rows of one text; a label without a value is 0 in that row.

    Example:
        >>> join_labels([{"a": 1.0}, {"b": 1.0, "c": math.nan}])
        {'a': 1.0, 'b': 1.0}
    """
    joined: RowLabels = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name, 0.0) for row in rows]
        value = max((each for each in values if not math.isnan(each)), default=math.nan)
        if value != 0:
            joined[name] = value
    return joined


def _same(first: RowLabels, second: RowLabels) -> bool:
    return first.keys() == second.keys() and all(
        value == second[name] or (math.isnan(value) and math.isnan(second[name]))
        for name, value in first.items()
    )
