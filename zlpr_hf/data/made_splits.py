"""Splits that are made from the training rows; rows of earlier runs keep theirs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from zlpr_hf.data.seen_texts import SeenTexts
from zlpr_hf.data.split_rows import SplitRows
from zlpr_hf.data.splits import check_share
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)


def make_splits(
    rows: SplitRows,
    sizes: Mapping[str, float],
    seed: int,
    known: Sequence[SeenTexts] = (),
    *,
    origin: str,
) -> dict[str, SplitRows]:
    """Split the missing splits off the training rows, and return them with ``train``.

    Rows that an earlier run knew keep their split, and rows of their text or group follow them;
    only the others are drawn. If that leaves a split empty, all rows are drawn.

    Args:
        rows: The training rows.
        sizes: Share of each missing split, of the rows that are left.
        seed: Random seed of the splits.
        known: Earlier runs; the first one that knows a text counts.
        origin: Name of the rows, for messages.

    Raises:
        InputError: If a share is not between 0 and 1, or a split would be empty.
    """
    for size in sizes.values():
        check_share(size)
    places = _find_places(rows, known, sizes)
    new = places.count(None)
    if sizes and new < len(places):
        _draw_new_rows(rows, places, sizes, seed)
        if {*sizes, "train"} <= set(places):
            if new:
                logger.warning(
                    "%s: %d rows keep their split of an earlier run, %d rows are new",
                    origin, len(places) - new, new,
                )  # fmt: skip
            return {split: _take(rows, places, split) for split in (*sizes, "train")}
    made = {}
    for split, size in sizes.items():
        rows, made[split] = rows.split(size, seed)
    return {**made, "train": rows}


def _take(rows: SplitRows, places: Sequence[str | None], split: str) -> SplitRows:
    return rows.take([index for index, place in enumerate(places) if place == split])


def _find_places(
    rows: SplitRows, known: Sequence[SeenTexts], sizes: Mapping[str, float]
) -> list[str | None]:
    """Return the split that each row has by an earlier run, None for new rows."""
    places: list[str | None] = [None] * len(rows.labels)
    for run in known:
        found = run.places(rows.text_keys())
        places = [first or second for first, second in zip(places, found, strict=True)]
    # A split that is given as a file gets no rows from here.
    places = [place if place == "train" or place in sizes else None for place in places]
    units = rows.units()
    if units is None:
        return places
    of_unit: dict[int, str] = {}
    # The last one wins: a group with a row that was trained on is in training as a whole.
    for split in ("test", "validation", "train"):
        for unit, place in zip(units, places, strict=True):
            if place == split:
                of_unit[unit] = split
    return [of_unit.get(unit) for unit in units]


def _draw_new_rows(
    rows: SplitRows, places: list[str | None], sizes: Mapping[str, float], seed: int
) -> None:
    """Draw the splits of new rows; they stay in training if they are too few to split."""
    for split, size in sizes.items():
        new = [index for index, place in enumerate(places) if place is None]
        try:
            _, moved = rows.take(new).draw(size, seed)
        except InputError:
            continue
        for index in moved:
            places[new[index]] = split
    places[:] = [place or "train" for place in places]
