"""EvaluationSet: labelled texts to judge a model by, in the order of the model's labels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.data.dataset import LabelledData, dense_targets, read_texts
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.errors import InputError
from zlpr_hf.label_space import LabelSpace


@dataclass(frozen=True)
class EvaluationSet:
    """Texts and their targets.

    Args:
        origin: What to call them.
        texts: One text a row, or two for pairs.
        targets: ``(N, L)`` in the order of the model's labels; NaN where a label is not known.
        dropped: Labels the model does not have, and how often, where dropping them was asked for.
    """

    origin: str
    texts: list[tuple[str, ...]]
    targets: NDArray[np.float32]
    dropped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_rows(
        cls,
        rows: Dataset,
        origin: str,
        labels: LabelColumns,
        label_space: LabelSpace,
        *,
        text_column: str = "text",
        text_pair_column: str | None = None,
        unseen_labels: str = "error",
    ) -> EvaluationSet:
        """Read rows that need not have been near the training data.

        Args:
            rows: As they were stored.
            origin: What to call them in a message.
            labels: Where and how they keep their labels; ids are those of the model unless the data
                has names of its own. With one column a label, those without are not known.
            label_space: The model's labels.
            text_column: Column of the text.
            text_pair_column: Column of a second text, for pairs.
            unseen_labels: ``error`` or ``drop``: what to do with labels the model does not have.

        Returns:
            The texts and targets.

        Raises:
            InputError: If a column is missing, a row is wrong, or a label is not the model's.
        """
        if unseen_labels not in ("error", "drop"):
            raise InputError(f"unseen_labels: expected error or drop, got {unseen_labels!r}")
        names = [name for name in (text_column, text_pair_column) if name]
        texts = list(zip(*(read_texts(rows, name, origin) for name in names), strict=True))
        _, found = labels.read(rows, origin)
        dropped: Counter[str] = Counter()
        for number, row in enumerate(found, start=1):
            outside = [name for name in row if name not in label_space.label2id]
            if outside and unseen_labels == "error":
                raise InputError(
                    f"{origin}, row {number}: label {outside[0]!r} is none of the model's "
                    f"({label_space.summary()}); correct it, or set unseen_labels drop"
                )
            for name in outside:
                del row[name]
            dropped.update(outside)
            if labels.columns:  # of a label without a column nobody has said that it is absent
                row |= dict.fromkeys(set(label_space.names) - set(row), math.nan)
        targets = dense_targets(
            [[label_space.label2id[name] for name in row] for row in found],
            [list(row.values()) for row in found],
            label_space.num_labels,
        )
        return cls(origin, texts, targets, dict(dropped))

    @classmethod
    def from_split(
        cls, data: LabelledData, split: str, label_space: LabelSpace, origin: str
    ) -> EvaluationSet:
        """A split of the data that a model was trained on.

        Args:
            data: All splits.
            split: ``train``, ``validation`` or ``test``.
            label_space: The model's labels.
            origin: What to call the data.

        Returns:
            The texts and targets.

        Raises:
            InputError: If the labels are not the model's.
        """
        if data.label_space != label_space:
            raise InputError(
                f"{origin}: its labels ({data.label_space.summary()}) are not the model's "
                f"({label_space.summary()})"
            )
        return cls(f"{origin}/{split}", data.texts(split), data.targets(split))
