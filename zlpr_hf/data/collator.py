"""Rows to batches: padding to the longest row of the batch, targets dense or as ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from zlpr_hf.data.targets import dense_targets, padded_ids


@dataclass(frozen=True)
class MultiLabelCollator:
    """Pad a batch and spread its labels into targets; rows that are streamed are texts still.

    Args:
        tokenizer: The model's tokenizer; it knows how to pad its inputs.
        num_labels: ``L``.
        as_ids: Whether labels are handed on as ids, for a large label space: hard ones only.

    Shape:
        Result: token inputs ``(B, T)``, ``labels`` ``(B, L)`` in float32, NaN where not known, and
        ``teacher_logits`` ``(B, L)`` where the rows have them. With ``as_ids``: ``labels``
        ``(B, K)`` in int64, filled up with ``-100``.
    """

    tokenizer: PreTrainedTokenizerBase
    num_labels: int
    as_ids: bool = False

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.tokenizer.pad(self._inputs(features), return_tensors="pt"))
        if self.as_ids:
            batch["labels"] = torch.from_numpy(padded_ids([row["label_ids"] for row in features]))
        elif "label_ids" in features[0]:
            targets = dense_targets(
                [row["label_ids"] for row in features],
                [row["label_values"] for row in features],
                self.num_labels,
            )
            batch["labels"] = torch.from_numpy(targets)
        if "teacher_logits" in features[0]:
            logits = [row["teacher_logits"] for row in features]
            batch["teacher_logits"] = torch.tensor(logits, dtype=torch.float32)
        return batch

    def _inputs(self, features: list[dict[str, Any]]) -> Any:
        names = self.tokenizer.model_input_names
        if "text" not in features[0]:
            return [{name: row[name] for name in names if name in row} for row in features]
        pairs = [row["text_pair"] for row in features] if "text_pair" in features[0] else None
        return self.tokenizer([row["text"] for row in features], pairs, truncation=True)
