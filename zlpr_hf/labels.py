"""LabelSpace: the names of the labels and their order, known in this one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zlpr_hf.errors import InputError


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
