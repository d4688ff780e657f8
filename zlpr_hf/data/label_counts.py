"""LabelCounts: facts about the labels of all rows, which show whether cells were misread."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zlpr_hf.data.label_cells import RowLabels, clean_name
from zlpr_hf.data.label_survey import LABEL_SEPARATORS, ids_or_flags_error
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)

FLAGS = frozenset({"0", "1", "0.0", "1.0"})
"""Texts that are 0/1 flags rather than names."""


@dataclass(frozen=True)
class LabelCounts:
    """Facts about the labels of all rows.

    Args:
        rows: Number of judged rows.
        known: Rows per label in which it is known and not 0.
        unknown: Rows per label in which it is unknown.
        several: Whether a row has several labels.
    """

    rows: int
    known: Mapping[str, int]
    unknown: Mapping[str, int] = field(default_factory=dict)
    several: bool = False

    @classmethod
    def from_rows(cls, found: Iterable[RowLabels | None]) -> LabelCounts:
        """Count the labels of rows; those that were not judged do not count."""
        judged = [row for row in found if row is not None]
        known: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        for row in judged:
            for name, value in row.items():
                (unknown if math.isnan(value) else known)[name] += 1
        return cls(len(judged), known, unknown, any(len(row) > 1 for row in judged))

    def check_names(self, where: str, delimiter: str | None) -> None:
        """Refuse names that have another reading: another delimiter, or flags.

        Args:
            where: File and column, for messages.
            delimiter: Delimiter that the names were read with.
        """
        self.check_separators(where, delimiter)
        if delimiter and not self.several:
            logger.warning(
                "%s: no row has the label_delimiter %r; is it the right one?", where, delimiter
            )
        if len(self.known) > 1 and self.known.keys() <= FLAGS:
            raise ids_or_flags_error(where)
        if self.known and all(name.isdecimal() for name in self.known):
            logger.warning(
                "%s: the labels are numbers such as %r, taken for names; for ids set label_form "
                "ids and label_names_file", where, min(self.known),
            )  # fmt: skip

    def check_separators(self, where: str, delimiter: str | None) -> None:
        """Refuse names that another separator splits into fewer labels."""
        others = {}
        for other in LABEL_SEPARATORS:
            joined = [name for name in self.known if other in name]
            parts = {clean_name(part) for name in self.known for part in name.split(other)} - {""}
            if len(joined) > 1 and len(parts) <= len(self.known) and other != delimiter:
                others[other] = joined[0], parts
        if not others:
            return
        other, (example, parts) = next(iter(others.items()))
        used = [*([delimiter] if delimiter and self.several else []), *others]
        if len(used) > 1:
            signs = " and others by ".join(map(repr, used))
            raise InputError(
                f"{where}: some labels are separated by {signs}, as in {example!r:.60}; write one "
                "separator in all cells, or declare the names in label_names_file"
            )
        given = f"label_delimiter {delimiter!r}" if delimiter else "cells as they are"
        raise InputError(
            f"{where}: {len(self.known)} labels such as {example!r:.60} with {given}, "
            f"but {len(parts)} such as {min(parts)!r:.40} with label_delimiter {other!r}: "
            f"add --label_delimiter {other!r}, or declare the names in label_names_file"
        )

    def check_unknown(self, origin: str) -> None:
        """Refuse numbers per label that never say no, and warn of single labels that do not."""
        names = {*self.known, *self.unknown}
        never_no = {
            name
            for name in names
            if self.known.get(name, 0) + self.unknown.get(name, 0) == self.rows
        }
        if never_no == names and any(self.unknown.values()):
            raise InputError(
                f"{origin}: no cell of the label columns says no (0), and some are empty or -1: "
                "are those labels absent or not judged? Set missing_labels no_label (write -1 as "
                "0), or missing_labels unjudged"
            )
        for name in sorted(never_no & self.known.keys() & self.unknown.keys())[:1]:
            logger.warning(
                "%s: no cell of label %r says no (0), and %d are empty or -1, which count as not "
                "judged (missing_labels no_label: empty cells are 0)",
                origin, name, self.unknown[name],
            )  # fmt: skip
