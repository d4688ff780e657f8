"""Tally: what one part of the torture tried, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Tally:
    """Counts of one part.

    Args:
        faults: Faults injected: processes killed, disks filled.
        inputs: Inputs tried.
        rows_lost: Rows of an input that are neither in the output nor among the bad rows.
        tracebacks: Errors that are no ``InputError``, or not one line.
        hangs: What did not end in its time.
        wrong: Results that are not those of an undisturbed run, half-written files taken for whole.
        notes: The first findings, to reproduce them.
    """

    faults: int = 0
    inputs: int = 0
    rows_lost: int = 0
    tracebacks: int = 0
    hangs: int = 0
    wrong: int = 0
    notes: tuple[str, ...] = field(default=())

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.rows_lost or self.tracebacks or self.hangs or self.wrong)


Part = Callable[[Path, int, float], Tally]
"""Called with an empty folder, a seed, and a scale: 1.0 for ``make torture``, less in the suite."""
