"""Variants of a dataset for a comparison: noise and scarcity planted in its training targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError, suggest

KINDS = ("missing_positives", "flipped", "texts_per_label", "single_positive")

Targets = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """Changes of the training and validation targets; test rows stay as they are.

    ``missing_positives`` removes a share of the tags of each label. ``flipped`` moves a share of
    the tags of each label to texts that lack the label, so that its frequency stays.
    ``texts_per_label`` draws so many training rows of each label, and at most as many validation
    rows as training rows. ``single_positive`` leaves each row one random tag of its own.
    """

    kind: str
    amount: float

    @classmethod
    def read(cls, given: Any) -> Variant:
        """Read ``{KIND: AMOUNT}`` from the plan of a comparison.

        Raises:
            InputError: If the kind is unknown or the amount is out of range.
        """
        if not isinstance(given, Mapping) or len(given) != 1:
            raise InputError(f"variant: expected one of {', '.join(KINDS)} with its amount")
        ((kind, amount),) = given.items()
        if kind not in KINDS:
            hint = suggest(str(kind), KINDS, otherwise=f"; expected one of {', '.join(KINDS)}")
            raise InputError(f"variant: unknown kind {kind!r}{hint}")
        if kind == "single_positive":
            valid, expected = amount is True, "true"
        elif kind == "texts_per_label":
            valid, expected = type(amount) is int and amount >= 1, "a whole number of at least 1"
        else:
            valid = isinstance(amount, float) and 0 < amount < 1
            expected = "a share between 0 and 1"
        if not valid:
            raise InputError(f"variant: {kind}: expected {expected}, got {amount!r}")
        return cls(kind, float(amount))

    def choose_rows(self, targets: Targets, rows: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
        """Return the training rows among ``rows``, in order; all but for ``texts_per_label``."""
        if self.kind != "texts_per_label":
            return rows
        generator = np.random.default_rng(seed)
        chosen: set[int] = set()
        for column in targets[rows].T:
            tagged = rows[column >= 0.5]
            count = min(int(self.amount), len(tagged))
            chosen |= set(generator.choice(tagged, count, replace=False).tolist())
        return np.array(sorted(chosen), dtype=np.intp)

    def change_targets(self, targets: Targets, seed: int) -> Targets:
        """Return changed targets ``(N, L)``; unknown cells stay unknown."""
        generator = np.random.default_rng(seed)
        changed = targets.copy()
        if self.kind == "single_positive":
            for row in changed:
                tagged = np.flatnonzero(row >= 0.5)
                if len(tagged):
                    row[tagged] = 0
                    row[generator.choice(tagged)] = 1
        elif self.kind in ("missing_positives", "flipped"):
            for column in changed.T:
                _move_tags(column, self.amount, generator, flip=self.kind == "flipped")
        return changed


def _move_tags(
    column: NDArray[np.float32], share: float, generator: np.random.Generator, *, flip: bool
) -> None:
    """Remove a share of the tags of one label, and give as many other rows the tag if asked."""
    tagged, others = np.flatnonzero(column >= 0.5), np.flatnonzero(column == 0)
    count = round(share * min(len(tagged), len(others) if flip else len(tagged)))
    column[generator.choice(tagged, count, replace=False)] = 0
    if flip:
        column[generator.choice(others, count, replace=False)] = 1
