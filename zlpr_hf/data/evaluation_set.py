"""EvaluationSet: labelled texts to judge a model by, in the order of the model's labels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.data.dataset import LabelledData, read_texts
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.targets import dense_targets, padded_ids
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace


@dataclass(frozen=True)
class EvaluationSet:
    """Texts and their targets.

    Args:
        origin: What to call them.
        texts: One text a row, or two for pairs.
        label_ids: The model's ids of the labels that are not 0, row by row.
        label_values: Their values; NaN where a label is not known.
        num_labels: ``L`` of the model.
        dropped: Labels the model does not have, and how often, where dropping them was asked for.
    """

    origin: str
    texts: list[tuple[str, ...]]
    label_ids: list[list[int]]
    label_values: list[list[float]]
    num_labels: int
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def targets(self) -> NDArray[np.float32]:
        """Dense targets ``(N, L)``."""
        return dense_targets(self.label_ids, self.label_values, self.num_labels)

    @property
    def positive_ids(self) -> NDArray[np.int64]:
        """Ids of the labels with a value of 0.5 or more, ``(N, K)`` filled up with ``-100``."""
        pairs = zip(self.label_ids, self.label_values, strict=True)
        return padded_ids(
            [
                [i for i, value in zip(ids, values, strict=True) if value >= 0.5]
                for ids, values in pairs
            ]
        )

    @property
    def known_cells(self) -> int:
        """How many labels of rows are known."""
        unknown = sum(math.isnan(value) for values in self.label_values for value in values)
        return len(self.texts) * self.num_labels - unknown

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
        ids = [[label_space.label2id[name] for name in row] for row in found]
        values = [list(row.values()) for row in found]
        return cls(origin, texts, ids, values, label_space.num_labels, dict(dropped))

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
        if split not in data.splits:
            raise InputError(
                f"{origin}: its {split} rows are streamed; expected --split test or "
                "validation, or --dataset FILE"
            )
        rows = data.splits[split]
        labels = list(rows["label_ids"]), list(rows["label_values"]), label_space.num_labels
        return cls(f"{origin}/{split}", data.texts(split), *labels)
