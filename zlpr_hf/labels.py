"""The labels: their names and order, label sets, and which targets are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.zlpr_config import ZLPRConfig

IGNORE_INDEX = -100
"""Target of a label that was not judged, as is NaN; it counts as neither present nor absent."""


def known_mask(targets: Any) -> Any:
    """Return where targets are known: neither NaN nor -100.

    Args:
        targets: A NumPy array or a torch tensor of any shape and type.

    Returns:
        Booleans of the same kind and shape.

    Example:
        >>> known_mask(np.array([0.0, 1.0, np.nan, -100.0])).tolist()
        [True, True, False, False]
    """
    return (targets == targets) & (targets != IGNORE_INDEX)


@dataclass(frozen=True)
class LabelSpace:
    """An ordered set of label names; the position of a name is its id everywhere.

    Args:
        names: At least two different, non-empty names.

    Raises:
        InputError: If there are fewer than two names, an empty one, or one that stands twice.

    Example:
        >>> space = LabelSpace(("joy", "anger"))
        >>> space.encode(["anger"])
        [0.0, 1.0]
        >>> space.decode([[True, False], [False, False]])
        [['joy'], []]
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise InputError(f"expected label names, got one text: {self.names!r:.60}")
        object.__setattr__(self, "names", tuple(self.names))
        for position, name in enumerate(self.names):
            if not isinstance(name, str) or not name.strip():
                raise InputError(
                    f"label {position}: expected a name that is not empty, got {name!r}"
                )
            if name != name.encode("utf-8", "ignore").decode("utf-8"):
                raise InputError(
                    f"label {position}: {name!r} has half a character (a lone surrogate)"
                )
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise InputError(f"label names must differ, got {twice[0]!r} more than once")
        if len(self.names) < 2:
            raise InputError(
                f"multi-label classification needs at least two labels, got {len(self.names)}"
                + (f" ({self.names[0]!r})" if self.names else "")
            )

    @classmethod
    def fit(cls, rows: Iterable[Iterable[str]]) -> LabelSpace:
        """Collect the names that occur in the rows of a training split, sorted.

        Args:
            rows: The label names of each row.

        Returns:
            The label space of those rows.

        Example:
            >>> LabelSpace.fit([["b"], [], ["a", "b"]]).names
            ('a', 'b')
        """
        return cls(tuple(sorted({name for row in rows for name in row})))

    @classmethod
    def from_config(cls, config: Any) -> LabelSpace:
        """Read the labels of a checkpoint from its configuration.

        Args:
            config: A ``PretrainedConfig``, or anything with ``id2label``.

        Returns:
            The label space in the order of the ids.
        """
        id2label: Mapping[Any, str] = {int(key): name for key, name in config.id2label.items()}
        return cls(tuple(id2label[index] for index in range(len(id2label))))

    @property
    def num_labels(self) -> int:
        """Number of labels, ``L``."""
        return len(self.names)

    @property
    def id2label(self) -> dict[int, str]:
        """Id to name, as in ``PretrainedConfig``."""
        return dict(enumerate(self.names))

    @cached_property
    def label2id(self) -> dict[str, int]:
        """Name to id, as in ``PretrainedConfig``."""
        return {name: index for index, name in enumerate(self.names)}

    def encode(self, names: Iterable[str]) -> list[float]:
        """Multi-hot vector of a set of names.

        Args:
            names: Names of this space, in any order.

        Returns:
            ``L`` values of 0.0 or 1.0.

        Raises:
            InputError: If a name is not in the space.
        """
        vector = [0.0] * self.num_labels
        for name in names:
            if name not in self.label2id:
                raise InputError(f"unknown label {name!r}; known: {self.summary()}")
            vector[self.label2id[name]] = 1.0
        return vector

    def decode(self, predictions: Iterable[Sequence[Any]]) -> list[list[str]]:
        """Names of the labels that are set in each row.

        Args:
            predictions: Rows of ``L`` truth values (an array ``(B, L)`` will do).

        Returns:
            One list of names a row, in the order of the ids.
        """
        return [
            [name for name, is_set in zip(self.names, row, strict=True) if is_set]
            for row in predictions
        ]

    def summary(self, limit: int = 8) -> str:
        """The first names, for messages."""
        more = self.num_labels - limit
        return ", ".join(self.names[:limit]) + (f" and {more} more" if more > 0 else "")


MAX_LABEL_SETS = 2_000
"""An output each; beyond this the head outgrows a small encoder and most sets have one example."""


@dataclass(frozen=True)
class LabelSets:
    """The different label sets of some rows, most frequent first.

    Args:
        sets: Ids of the labels in each set, ascending; the empty set is ``()``.
        num_labels: ``L``.

    Example:
        >>> sets = LabelSets.fit(np.array([[1, 0], [1, 1], [1, 1]]))
        >>> sets.sets, sets.count_unseen(np.array([[0, 1], [1, 0]]))
        (((0, 1), (0,)), 1)
    """

    sets: tuple[tuple[int, ...], ...]
    num_labels: int

    @classmethod
    def fit(cls, targets: NDArray[Any]) -> LabelSets:
        """Collect the label sets of training rows.

        Args:
            targets: Training targets; a label is in the set from 0.5 on. Rows with an unknown label
                (NaN or -100) add no set.

        Shape:
            targets: ``(N, L)``.

        Returns:
            The sets.

        Raises:
            InputError: If there are more than thousands of them, or just one.
        """
        targets = np.asarray(targets)
        found = Counter(_sets_of(targets[known_mask(targets).all(1)]))
        cls.check_count(len(found))
        order = sorted(found, key=lambda members: (-found[members], members))
        return cls(tuple(order), targets.shape[1])

    @staticmethod
    def check_count(count: int) -> None:
        """Refuse a number of label sets that no softmax over them can be meant for.

        Args:
            count: Number of different sets in the training rows.

        Raises:
            InputError: If there are more than thousands of them, or just one.
        """
        if not 2 <= count <= MAX_LABEL_SETS:
            raise InputError(
                f"loss powerset has one output a label set: expected 2 to {MAX_LABEL_SETS:,} "
                f"different sets in the training rows, got {count:,}; use another loss"
            )

    @classmethod
    def from_config(cls, config: Any) -> LabelSets:
        """Read the sets of a checkpoint that was trained with the powerset loss.

        Args:
            config: A ``PretrainedConfig``.

        Returns:
            Its sets.
        """
        stored = ZLPRConfig.read(config)
        return cls(tuple(map(tuple, stored.label_sets)), len(stored.labels))

    def to_config(self, label_space: LabelSpace) -> dict[str, Any]:
        """A plain mapping for the ``zlpr`` entry of ``config.json``."""
        return {"labels": list(label_space.names), "label_sets": [list(each) for each in self.sets]}

    def output_space(self, label_space: LabelSpace) -> LabelSpace:
        """Names of the model's outputs, such as ``coffee + cocoa``.

        A stock pipeline then answers with the best label set. It cannot answer with the scores of
        labels, since those are differences of maxima over outputs, which no head computes.

        Args:
            label_space: The labels.

        Returns:
            One name a set.
        """
        names = [" + ".join(label_space.names[index] for index in each) for each in self.sets]
        return LabelSpace(tuple(name or "(no label)" for name in names))

    def count_unseen(self, targets: NDArray[Any]) -> int:
        """Number of rows that agree with none of these sets, so that none can be right.

        Args:
            targets: Targets ``(N, L)``; an unknown label agrees with any set.
        """
        targets = np.asarray(targets)
        known, members = known_mask(targets), self.members()
        fits = set(self.sets)
        unseen = 0
        for members_of_row, row_known in zip(_sets_of(targets), known, strict=True):
            if row_known.all():
                unseen += members_of_row not in fits
                continue
            row = np.isin(np.arange(self.num_labels), members_of_row)
            unseen += not (members == row)[:, row_known].all(1).any()
        return unseen

    def members(self) -> NDArray[np.bool_]:
        """Which labels are in which set, as booleans ``(K, L)``."""
        table = np.zeros((len(self.sets), self.num_labels), dtype=bool)
        for row, members in zip(table, self.sets, strict=True):
            row[list(members)] = True
        return table


def _sets_of(targets: NDArray[Any]) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(row).tolist()) for row in np.asarray(targets) >= 0.5]
