"""Labels: their names and order, label sets, and which targets are known."""

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
"""Target of an unknown label, as is NaN; it counts as neither present nor absent."""
LABEL_DELIMITERS = (";", "|", ",", "#", "~")
"""Separators to choose from where labels are joined to one text."""
NO_LABEL = "(no label)"
"""Name of the empty label set."""


def known_mask(targets: Any) -> Any:
    """Return where targets, a NumPy array or a torch tensor, are known: neither NaN nor -100.

    Example:
        >>> known_mask(np.array([0.0, 1.0, np.nan, -100.0])).tolist()
        [True, True, False, False]
    """
    return (targets == targets) & (targets != IGNORE_INDEX)


def advise_delimiter(names: Iterable[str]) -> str:
    """Return words on a label delimiter that no name holds."""
    signs = {sign for name in names for sign in name}
    free = next((sign for sign in LABEL_DELIMITERS if sign not in signs), None)
    return "choose another one" if free is None else f"use {free!r}"


@dataclass(frozen=True)
class LabelSpace:
    """An ordered set of label names; the position of a name is its id everywhere.

    Args:
        names: At least two different, non-empty names.

    Raises:
        InputError: If there are fewer than two names, or one is empty or a duplicate.

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
                raise InputError(f"label {position}: expected a non-empty name, got {name!r}")
            if name != name.encode("utf-8", "ignore").decode("utf-8"):
                raise InputError(
                    f"label {position}: {name!r} has half a character (a lone surrogate)"
                )
        duplicates = [name for name, count in Counter(self.names).items() if count > 1]
        if duplicates:
            raise InputError(f"duplicate label {duplicates[0]!r}; label names must be unique")
        if len(self.names) < 2:
            raise InputError(
                f"multi-label classification needs at least two labels, got {len(self.names)}"
                + (f" ({self.names[0]!r})" if self.names else "")
                + "; for a single yes/no label, train a binary classifier instead"
            )

    @classmethod
    def fit(cls, rows: Iterable[Iterable[str]]) -> LabelSpace:
        """Collect the names that occur in the rows of a training split, sorted.

        Example:
            >>> LabelSpace.fit([["b"], [], ["a", "b"]]).names
            ('a', 'b')
        """
        names: set[str] = set()
        for number, row in enumerate(rows):
            if isinstance(row, str):
                raise InputError(
                    f"row {number}: expected a list of names, got the text {row!r:.60}"
                )
            names.update(row)
        return cls(tuple(sorted(names)))

    @classmethod
    def from_names(cls, names: Iterable[str]) -> LabelSpace:
        """Return the names in their order; a single text is refused."""
        return cls(names if isinstance(names, str) else tuple(names))  # type: ignore[arg-type]

    @classmethod
    def numbered(cls, count: int) -> LabelSpace:
        """Return the names that transformers gives to labels without names: ``LABEL_0`` and on."""
        return cls(tuple(f"LABEL_{index}" for index in range(count)))

    @classmethod
    def from_config(cls, config: Any) -> LabelSpace:
        """Read ``id2label`` of a checkpoint's ``PretrainedConfig``."""
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
        """Return the multi-hot vector of a set of names; InputError for an unknown name."""
        vector = [0.0] * self.num_labels
        for name in names:
            if name not in self.label2id:
                raise InputError(f"unknown label {name!r}; known: {self.summary()}")
            vector[self.label2id[name]] = 1.0
        return vector

    def decode(self, predictions: Iterable[Sequence[Any]]) -> list[list[str]]:
        """Return the names of the labels that are set in each row of ``(B, L)``, by id."""
        return [
            [name for name, is_set in zip(self.names, row, strict=True) if is_set]
            for row in predictions
        ]

    def summary(self, limit: int = 8) -> str:
        """Return the first names, for messages."""
        more = self.num_labels - limit
        return ", ".join(self.names[:limit]) + (f" and {more} more" if more > 0 else "")


MAX_LABEL_SETS = 2_000
"""More outputs would outgrow a small encoder, and most sets would have a single example."""


@dataclass(frozen=True)
class LabelSets:
    """The different label sets of some rows, most frequent first.

    Args:
        sets: Ids of the labels in each set, ascending; the empty set is ``()``.
        num_labels: Number of labels, ``L``.

    Example:
        >>> sets = LabelSets.fit(np.array([[1, 0], [1, 1], [1, 1]]))
        >>> sets.sets, sets.count_unseen(np.array([[0, 1], [1, 0]]))
        (((0, 1), (0,)), 1)
    """

    sets: tuple[tuple[int, ...], ...]
    num_labels: int

    @classmethod
    def fit(cls, targets: NDArray[Any]) -> LabelSets:
        """Collect the label sets of training targets for a model with one output per set.

        Raises:
            InputError: If there are more than 2,000 sets, or only one.
        """
        found = cls.collect(targets)
        cls.check_count(len(found.sets))
        return found

    @classmethod
    def collect(cls, targets: NDArray[Any]) -> LabelSets:
        """Collect any number of label sets of targets ``(N, L)``; present is 0.5 or above.

        Rows with an unknown label add no set.
        """
        targets = np.asarray(targets)
        found = Counter(_sets_of(targets[known_mask(targets).all(1)]))
        order = sorted(found, key=lambda members: (-found[members], members))
        return cls(tuple(order), targets.shape[1])

    @staticmethod
    def check_count(count: int) -> None:
        """Refuse a number of label sets that is too large for a softmax over them, or below 2."""
        if not 2 <= count <= MAX_LABEL_SETS:
            raise InputError(
                f"loss powerset has one output per label set: expected 2 to {MAX_LABEL_SETS:,} "
                f"different sets in the training rows, got {count:,}; use another loss"
            )

    @classmethod
    def from_config(cls, config: Any) -> LabelSets | None:
        """Read the sets of a checkpoint that was trained with the powerset loss.

        None if there are none, or the outputs have other names: they belong to an earlier head.
        """
        stored = ZLPRConfig.read(config)
        if not stored.label_sets:
            return None
        found = cls(tuple(map(tuple, stored.label_sets)), len(stored.labels))
        names = found.output_space(LabelSpace(tuple(stored.labels))).id2label
        return found if {int(key): name for key, name in config.id2label.items()} == names else None

    def to_config(self, label_space: LabelSpace) -> dict[str, Any]:
        """Return a plain mapping for the ``zlpr`` entry of ``config.json``."""
        return {"labels": list(label_space.names), "label_sets": [list(each) for each in self.sets]}

    def output_space(self, label_space: LabelSpace) -> LabelSpace:
        """Return the names of the model's outputs, such as ``coffee + cocoa``.

        A stock pipeline then answers with the best label set. It cannot answer with scores of
        labels: those are differences of maxima over outputs, which no head computes. A label that
        looks like a set is quoted.
        """
        labels = [
            f'"{name}"' if " + " in name or name[0] == '"' or name == NO_LABEL else name
            for name in label_space.names
        ]
        names = [" + ".join(labels[index] for index in each) for each in self.sets]
        return LabelSpace(tuple(name or NO_LABEL for name in names))

    def count_unseen(self, targets: NDArray[Any]) -> int:
        """Count the rows of ``(N, L)`` that match none of these sets; unknown labels match any."""
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
        """Return the membership of labels in sets, ``(K, L)``."""
        table = np.zeros((len(self.sets), self.num_labels), dtype=bool)
        for row, members in zip(table, self.sets, strict=True):
            row[list(members)] = True
        return table

    def score_labels(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores of labels, ``(N, L)``, from logits of sets, ``(N, K)``.

        The same as :func:`zlpr_hf.powerset_label_scores`, without torch.
        """
        lowest = logits.min(-1) - 1
        scores = np.empty((len(logits), self.num_labels), logits.dtype)
        for label, members in enumerate(self.members().T):
            inside, outside = logits[:, members], logits[:, ~members]
            best = inside.max(-1) if members.any() else lowest
            scores[:, label] = best - (lowest if members.all() else outside.max(-1))
        return scores


def _sets_of(targets: NDArray[Any]) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(row).tolist()) for row in np.asarray(targets) >= 0.5]
