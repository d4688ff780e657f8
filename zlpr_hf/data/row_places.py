"""RowPlaces: the file and the line, or the number, of each row of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zlpr_hf.data.sources import Source
from zlpr_hf.files.paths import shorten_path


@dataclass(frozen=True)
class RowPlaces:
    """Where the rows of a split come from.

    Args:
        origin: File or data set.
        numbers: Number of each row in it, from 1.
        lines: First line of each row in the file; empty in formats without lines.
    """

    origin: str
    numbers: Sequence[int]
    lines: Sequence[int] = ()

    @classmethod
    def from_source(cls, source: Source, split: str, numbers: Sequence[int]) -> RowPlaces:
        """Return the places of rows with these numbers in a split of the source."""
        origin = shorten_path(source.origins[split])
        lines = source.lines.get(split, ())
        if len(lines) != source.splits[split].num_rows:
            return cls(origin, numbers)
        return cls(origin, numbers, [lines[number - 1] for number in numbers])

    def place(self, row: int) -> str:
        """Return the place of a row, counted from 0.

        Example:
            >>> RowPlaces("reviews.csv", [3, 9], [4, 12]).place(1)
            'reviews.csv:12'
            >>> RowPlaces("reviews.parquet", [3, 9]).place(1)
            'reviews.parquet, row 9'
        """
        if self.lines:
            return f"{self.origin}:{self.lines[row]}"
        return f"{self.origin}, row {self.numbers[row]}"
