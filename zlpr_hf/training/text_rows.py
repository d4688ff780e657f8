"""Rows with texts and label names: tokenised and encoded when a trainer is made."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from zlpr_hf.data.columns import read_texts, warn_of_empty_texts
from zlpr_hf.data.encoding import encode
from zlpr_hf.data.given_labels import GivenLabels
from zlpr_hf.data.in_memory import (
    LABEL_COLUMNS,
    column_labels,
    find_label_column,
    to_dataset,
)
from zlpr_hf.data.split_rows import ROW_WEIGHT
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSets, LabelSpace
from zlpr_hf.models.lengths import limit_to_positions
from zlpr_hf.training.dataloaders import CheckedCollator, check_equal_lengths
from zlpr_hf.zlpr_config import ZLPRConfig

CHECKED_ROWS = 32
"""Tokenised rows that are looked at before training."""
TEXT_COLUMNS = ("text", "text_pair")
TEACHER = "teacher_logits"
USED_COLUMNS = (*TEXT_COLUMNS, *LABEL_COLUMNS, TEACHER)


@dataclass(frozen=True)
class RowEncoder:
    """Makes model inputs of rows with ``text`` and label names, and checks rows that have them.

    Args:
        model: The model; ``config.id2label`` is the order of the labels.
        tokenizer: Its tokenizer, or None.
        arguments: Options of the trainer.
    """

    model: Any
    tokenizer: Any
    arguments: TrainingArguments

    def __call__(self, rows: Any, name: str) -> Any:
        """Return rows as model inputs and targets; rows that are tokenised stay as they are.

        Args:
            rows: Rows, or for evaluation a dictionary of several data sets.
            name: The argument of the trainer, for messages.

        Raises:
            InputError: If texts, labels or the tokenizer are missing or wrong; with the row.
        """
        if isinstance(rows, Mapping) and "text" not in rows:
            if name != "eval_dataset":
                splits = ", ".join(map(str, rows)) or "none"
                raise InputError(
                    f'{name}: expected rows, got a dictionary with {splits}; pass data["train"]'
                )
            return {key: self(each, f"{name}[{key!r}]") for key, each in rows.items()}
        if hasattr(rows, "iterrows") or isinstance(rows, Mapping):
            rows = to_dataset(rows, name, needed=USED_COLUMNS)
        first = _first_row(rows)
        if first is None or self._is_tokenised(first):
            return rows
        if "text" in first:
            return self._encode(to_dataset(rows, name, needed=USED_COLUMNS), name)
        if not isinstance(self.model, PreTrainedModel):
            return rows
        raise InputError(
            f"{name}: no column 'text'; the columns are {', '.join(map(str, first))}; rename the "
            "column of the texts to 'text'"
        )

    def _is_tokenised(self, row: Mapping[str, Any]) -> bool:
        inputs = set(inspect.signature(self.model.forward).parameters) - {"labels", "kwargs"}
        names = getattr(self.tokenizer, "model_input_names", ())
        return bool(inputs.union(names, ("input_ids", "inputs_embeds")) & set(row))

    def _encode(self, rows: Dataset, name: str) -> Dataset:
        if not isinstance(self.tokenizer, PreTrainedTokenizerBase):
            raise InputError(
                f"{name} holds texts: pass processing_class=tokenizer to tokenise them"
            )
        rows = rows.with_format(None)
        tokenizer = copy.copy(self.tokenizer)  # keeps the limit that the user set
        limit_to_positions(tokenizer, self.model.config, model=self.model)
        columns = [column for column in TEXT_COLUMNS if column in rows.column_names]
        content: dict[str, Any] = {column: read_texts(rows, column, name) for column in columns}
        for column, texts in content.items():
            warn_of_empty_texts(dict(enumerate(texts, start=1)), column, name)
        label_column = find_label_column(rows.column_names)
        features = Features({column: Value("string") for column in columns})
        if label_column is not None:
            content["labels"], features["labels"] = self._labels(rows, label_column, name)
        if ROW_WEIGHT in rows.column_names:
            content[ROW_WEIGHT], features[ROW_WEIGHT] = rows[ROW_WEIGHT][:], Value("float32")
        if TEACHER in rows.column_names:
            content[TEACHER], features[TEACHER] = rows[TEACHER][:], List(Value("float32"))
        encoded = encode(
            Dataset.from_dict(content, features=features),
            tokenizer,
            max_length=tokenizer.model_max_length,
            description=f"tokenise {name}",
        )
        kept = self.arguments.remove_unused_columns  # the trainer leaves out what no model reads
        return encoded.remove_columns(["truncated"] if kept else ["truncated", "length"])

    def _labels(self, rows: Dataset, column: str, name: str) -> tuple[list[Any], Any]:
        cells = column_labels(rows, column, name)
        targets = GivenLabels.read(cells, self._label_space(name).names, origin=name).targets
        if not getattr(self.arguments, "large_label_space", False):
            return list(targets), List(Value("float32"))
        soft = np.flatnonzero(((targets != 0) & (targets != 1)).any(1))
        if len(soft):
            raise InputError(
                f"{name}, row {soft[0] + 1}: soft or unknown labels, which large_label_space does "
                "not support"
            )
        return [np.flatnonzero(row).tolist() for row in targets], List(Value("int64"))

    def _label_space(self, name: str) -> LabelSpace:
        config = getattr(self.model, "config", None)
        if config is None:
            raise InputError(
                f"{name} holds texts, and the model has no config with label names: tokenise and "
                "encode the rows, see LabelSpace.encode"
            )
        if LabelSets.from_config(config) is not None:  # its outputs are sets of labels
            return LabelSpace(tuple(ZLPRConfig.read(config).labels))
        return LabelSpace.from_config(config)


def check_tokenised(rows: Any, name: str, collator: CheckedCollator) -> None:
    """Refuse labels of the first row that the model cannot learn, and lengths that nothing pads.

    Raises:
        InputError: With what was expected, and the remedy.
    """
    if isinstance(rows, dict):
        for key, each in rows.items():
            check_tokenised(each, f"{name}[{key!r}]", collator)
        return
    first = _first_row(rows)
    column = None if first is None else find_label_column(first)
    if first is None:
        return
    try:
        if column is not None:
            collator.check(first[column])
    except InputError as error:
        raise InputError(f"{name}, row 1: {error}") from error
    if collator.pads_nothing:
        check_equal_lengths([rows[i] for i in range(min(len(rows), CHECKED_ROWS))], name)


def is_stock_collator(collator: Any) -> bool:
    """Whether a collator is one of transformers, all of which take tokenised rows."""
    made_by = collator if inspect.isroutine(collator) else type(collator)
    return made_by.__module__.partition(".")[0] == "transformers"


def _first_row(rows: Any) -> Mapping[str, Any] | None:
    if not (hasattr(rows, "__getitem__") and hasattr(rows, "__len__")) or not len(rows):
        return None
    first = rows[0]
    return first if isinstance(first, Mapping) else None
