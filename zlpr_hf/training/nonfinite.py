"""NonFiniteStep: a training step with NaN or infinite loss or gradients, its cause and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    "labels": "look at the labels of these rows: a target lies in [0, 1] or is NaN",
    "teacher_logits": "look at the teacher's logits of these rows",
    "logits": "lower learning_rate and head_learning_rate, or set bf16 false where it is on",
    "loss": "look at the targets of these rows, and at the loss if it is your own",
    "gradient": "lower learning_rate, set bf16 false where it is on, or set max_grad_norm to 1 "
    "where it is 0",
}
"""What was not finite, from what comes first to what follows from it, and what helps."""


@dataclass(frozen=True)
class NonFiniteStep:
    """Where the numbers of a step stopped being finite.

    Args:
        step: The optimizer step that was not taken, from 1.
        what: A key of :data:`REMEDIES`.
        rows: Training rows, from 1: those at fault, or for weights and gradients all of the step;
            empty where nobody knows them.
    """

    step: int
    what: str
    rows: tuple[int, ...]

    def render(self) -> str:
        """One line: the step, what was not finite, the rows, the remedy."""
        shown = ", ".join(map(str, self.rows[:MAX_ROWS_SHOWN]))
        shown = shown or "unknown, for they are streamed or drawn anew"
        more = len(self.rows) - MAX_ROWS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        return (
            f"training stopped at step {self.step}: its {self.what} held NaN or infinity "
            f"(training rows {shown}{rest}); {REMEDIES[self.what]}"
        )


def diagnose_nonfinite_step(
    batches: Sequence[Mapping[str, Any]],
    rows: Sequence[Sequence[int]] | None,
    run: Callable[[dict[str, Any]], tuple[Tensor, Tensor]],
    *,
    step: int,
    weights: Iterator[Tensor],
) -> NonFiniteStep:
    """Look for the cause row by row, after a step whose gradients were not finite.

    Args:
        batches: Of the step.
        rows: Training rows of each batch; None where nobody knows them.
        run: Loss and logits of a batch, here of a single row.
        step: Its number, from 1.
        weights: The model's, which the step has not changed.

    Returns:
        The first cause there is.
    """
    numbers = [number for batch in rows or () for number in batch]
    if not all(torch.isfinite(weight).all() for weight in weights):
        return NonFiniteStep(step, "weights", tuple(numbers))
    found: dict[str, list[int]] = {}
    position = 0
    for batch in batches:
        for index in range(len(batch["labels"])):
            what = _cause(_row(batch, index), run)
            if what is not None:
                found.setdefault(what, []).append(position)
            position += 1
    what = next((what for what in REMEDIES if what in found), "gradient")
    at_fault = found.get(what, range(position))
    return NonFiniteStep(step, what, tuple(numbers[index] for index in at_fault) if numbers else ())


def merge_nonfinite_steps(found: Sequence[NonFiniteStep]) -> NonFiniteStep:
    """What several processes found in the same step.

    Args:
        found: Of each process.

    Returns:
        The first cause there is, with the rows of all that met it.
    """
    first = min(found, key=lambda each: [*REMEDIES].index(each.what))
    rows = {row for each in found if each.what == first.what for row in each.rows}
    return NonFiniteStep(first.step, first.what, tuple(sorted(rows)))


def _row(batch: Mapping[str, Any], index: int) -> dict[str, Any]:
    rows = len(batch["labels"])
    return {
        name: value[index : index + 1]
        if isinstance(value, Tensor) and value.ndim and len(value) == rows
        else value
        for name, value in batch.items()
    }


@torch.no_grad()
def _cause(
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
    """Which rows of its data set a data loader put into the batches of a step.

    The order is drawn once more, and believed only if the same rows give the same batches.

    Args:
        loader: The training data loader.
        batches: Of the step that was begun.
        epoch: Epochs that are done, with the share of the one that has begun.

    Returns:
        Positions from 0, batch by batch; None where the order cannot be drawn again.
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
