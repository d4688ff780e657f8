"""EvaluationSet: labelled texts to evaluate a model on, in the order of the model's labels."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.choices import UnseenLabels
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.labelled_rows import read_rows
from zlpr_hf.data.reading import Reading
from zlpr_hf.data.responses import split_responses
from zlpr_hf.data.targets import dense_targets, padded_ids
from zlpr_hf.data.unseen_labels import drop_unknown
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSet:
    """Texts and their targets.

    Args:
        origin: Name of the data, for messages.
        texts: Texts of each row: one, or two for pairs.
        label_ids: Per row, the model's ids of the labels that are not 0.
        label_values: Their values; NaN means not known.
        num_labels: Number of labels of the model, ``L``.
        dropped: Dropped labels that the model does not have, and from how many rows.
        reading: How the rows were read, if they are not those of the model's own data.
    """

    origin: str
    texts: list[tuple[str, ...]]
    label_ids: list[list[int]]
    label_values: list[list[float]]
    num_labels: int
    dropped: dict[str, int] = field(default_factory=dict)
    reading: Reading | None = None

    @property
    def targets(self) -> NDArray[np.float32]:
        """Dense targets ``(N, L)``."""
        return dense_targets(self.label_ids, self.label_values, self.num_labels)

    @property
    def positive_ids(self) -> NDArray[np.int64]:
        """Ids of the labels with a value of at least 0.5, ``(N, K)`` padded with ``-100``."""
        return padded_ids(
            [
                [i for i, value in zip(ids, values, strict=True) if value >= 0.5]
                for ids, values in zip(self.label_ids, self.label_values, strict=True)
            ]
        )

    @property
    def known_cells(self) -> int:
        """Number of known targets."""
        unknown = sum(math.isnan(value) for values in self.label_values for value in values)
        return len(self.texts) * self.num_labels - unknown

    @property
    def judged_rows(self) -> int:
        """Number of rows with a known target."""
        unknown = [sum(map(math.isnan, values)) for values in self.label_values]
        return sum(count < self.num_labels for count in unknown)

    @property
    def judged_labels(self) -> set[int]:
        """Ids of the labels with a known target."""
        unknown = Counter(
            i
            for ids, values in zip(self.label_ids, self.label_values, strict=True)
            for i, value in zip(ids, values, strict=True)
            if math.isnan(value)
        )
        return {i for i in range(self.num_labels) if unknown[i] < len(self.texts)}

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
        unseen_labels: UnseenLabels = "error",
    ) -> EvaluationSet:
        """Read rows that may be independent of the training data.

        Args:
            rows: The rows as they are stored.
            origin: Name of the rows, for messages.
            labels: Columns and form of their labels; ids are those of the model unless the data
                declares names. Labels that are not among declared names are not known.
            label_space: The model's labels.
            text_column: Column of the text.
            text_pair_column: Column of a second text, for pairs.
            unseen_labels: ``error`` or ``drop``: labels that the model does not have.

        Raises:
            InputError: If a column is missing, a row is wrong, or the model lacks a label.
        """
        names = [name for name in (text_column, text_pair_column) if name]
        rows = split_responses(rows, labels.used)
        reader, judged = read_rows(rows, origin, labels, names)
        reading = Reading.from_reader(reader, labels, names, names=label_space.names)
        texts = list(zip(*judged.columns.values(), strict=True))
        absence = f"is not a label of the model ({label_space.summary()})"
        dropped = drop_unknown(judged, label_space, unseen_labels, origin, absence)
        found = judged.labels
        # Nothing says that a label is absent where the data has no place for it.
        missing = [name for name in label_space.names if name not in (reader.names or (name,))]
        if missing:
            logger.warning(
                "%s: has no place for %d of %d labels of the model, such as %r: they count in no "
                "metric", origin, len(missing), label_space.num_labels, missing[0],
            )  # fmt: skip
            found = [row | dict.fromkeys(missing, math.nan) for row in found]
        ids = [[label_space.label2id[name] for name in row] for row in found]
        values = [list(row.values()) for row in found]
        return cls(origin, texts, ids, values, label_space.num_labels, dict(dropped), reading)

    @classmethod
    def from_split(
        cls, data: LabelledData, split: str, label_space: LabelSpace, origin: str
    ) -> EvaluationSet:
        """Return a split of the data that a model was trained on; ``origin`` names it.

        Raises:
            InputError: If the labels are not the model's, or the split is streamed or missing.
        """
        if data.label_space != label_space:
            raise InputError(
                f"{origin}: its labels ({data.label_space.summary()}) are not the model's "
                f"({label_space.summary()})"
            )
        if data.split_of(split) != split:
            raise InputError(
                f"{origin}: cross-fitted, with no {split} rows: its report judges each row out of "
                "its fold; give other rows with --dataset FILE"
            )
        if split not in data.splits:
            raise InputError(
                f"{origin}: its {split} rows are streamed; expected --split test or "
                "validation, or --dataset FILE"
            )
        rows = data.splits[split]
        labels = list(rows["label_ids"]), list(rows["label_values"]), label_space.num_labels
        return cls(origin, data.texts(split), *labels)
