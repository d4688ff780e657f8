"""NonFiniteStep: a training step with NaN or infinity, its cause, its rows and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

MAX_ROWS_SHOWN = 20
REMEDIES = {
    "weights": "the model was broken before this step: load another one, or start again with a "
    "lower learning_rate",
    "labels": "check the labels of these rows: a target must lie in [0, 1] or be NaN",
    "teacher_logits": "check the teacher's logits of these rows",
    "logits": "lower learning_rate and head_learning_rate, or set bf16 to false if it is on",
    "loss": "check the targets of these rows, and the loss if it is your own",
    "gradient": "lower learning_rate, set bf16 to false if it is on, or set max_grad_norm to 1 "
    "if it is 0",
}
"""Possible causes, each before its consequences, and the remedy for each."""


@dataclass(frozen=True)
class NonFiniteStep:
    """The point where the numbers of a step stopped being finite.

    Args:
        step: Number of the optimizer step that was not taken, from 1.
        cause: A key of :data:`REMEDIES`.
        rows: Training rows, from 1: those at fault, or for weights and gradients all rows of the
            step; empty if unknown.
    """

    step: int
    cause: str
    rows: tuple[int, ...]

    def render(self) -> str:
        """Return one line with the step, the cause, the rows and the remedy."""
        shown = ", ".join(map(str, self.rows[:MAX_ROWS_SHOWN]))
        shown = shown or "unknown: they are streamed or drawn in a new order"
        more = len(self.rows) - MAX_ROWS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        return (
            f"training stopped at step {self.step}: NaN or infinity in its {self.cause} "
            f"(training rows {shown}{rest}); {REMEDIES[self.cause]}"
        )


def diagnose_nonfinite_step(
    batches: Sequence[Mapping[str, Any]],
    rows: Sequence[Sequence[int]] | None,
    run: Callable[[dict[str, Any]], tuple[Tensor, Tensor]],
    *,
    step: int,
    weights: Iterator[Tensor],
    row_inputs: Collection[str],
) -> NonFiniteStep:
    """Find the first cause, row by row, after a step whose gradients were not finite.

    ``rows`` holds the training rows of each batch, ``run`` returns loss and logits of a batch,
    ``weights`` are those before the step, and ``row_inputs`` names the tensors of a batch with one
    entry per row.
    """
    numbers = [number for batch in rows or () for number in batch]
    if not all(torch.isfinite(weight).all() for weight in weights):
        return NonFiniteStep(step, "weights", tuple(numbers))
    found: dict[str, list[int]] = {}
    position = 0
    for batch in batches:
        for index in range(len(batch["labels"])):
            row = {
                name: value[index : index + 1] if name in row_inputs else value
                for name, value in batch.items()
            }
            try:
                cause = _find_cause(row, run)
            except (RuntimeError, ValueError):  # a custom model or collator without single rows
                return NonFiniteStep(step, "loss", tuple(numbers))
            if cause is not None:
                found.setdefault(cause, []).append(position)
            position += 1
    cause = next((cause for cause in REMEDIES if cause in found), "gradient")
    at_fault = found.get(cause, range(position))
    at_fault_rows = tuple(numbers[index] for index in at_fault) if numbers else ()
    return NonFiniteStep(step, cause, at_fault_rows)


def merge_nonfinite_steps(found: Sequence[NonFiniteStep]) -> NonFiniteStep:
    """Merge findings of several processes: the first cause, with the rows of all that met it."""
    first = min(found, key=lambda each: [*REMEDIES].index(each.cause))
    rows = {row for each in found if each.cause == first.cause for row in each.rows}
    return NonFiniteStep(first.step, first.cause, tuple(sorted(rows)))


@torch.no_grad()
def _find_cause(
    row: dict[str, Any], run: Callable[[dict[str, Any]], tuple[Tensor, Tensor]]
) -> str | None:
    loss, logits = run(row)
    if torch.isfinite(loss).all():
        return None
    if torch.isinf(row["labels"]).any():
        return "labels"
    if "teacher_logits" in row and not torch.isfinite(row["teacher_logits"]).all():
        return "teacher_logits"
    return "loss" if torch.isfinite(logits).all() else "logits"


def find_rows(
    loader: Any, batches: Sequence[Mapping[str, Any]], *, epoch: float
) -> list[list[int]] | None:
    """Return the dataset rows, from 0, of each batch of a step.

    The order is drawn once more, and trusted only if the same rows give the same batches; None if
    they do not. ``epoch`` counts finished epochs plus the share of the current one.
    """
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(int(epoch))
    done = round((epoch - int(epoch)) * len(loader))
    drawn = [list(indices) for indices in islice(sampler, done, done + len(batches))]
    if len(drawn) != len(batches):
        return None
    for indices, batch in zip(drawn, batches, strict=True):
        again = loader.collate_fn([loader.dataset[index] for index in indices])
        if not all(_same(value, batch.get(name)) for name, value in again.items()):
            return None
    return drawn


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return bool(one == other)
    return one.shape == other.shape and torch.allclose(
        one.to(other.device).float(), other.float(), rtol=0, atol=0, equal_nan=True
    )
