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
    only the others are drawn. If that leaves a split empty, all rows are drawn. Rows without a text
    cannot be recognised: they are for training, or drawn with their group.

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
    aside: list[str | None] = ["train" if each else None for each in _lack_content(rows)]
    found = _find_places(rows, known, sizes)
    if sizes and any(found):
        places = [first or second for first, second in zip(found, aside, strict=True)]
        new = places.count(None)
        drawn = _draw(rows, places, sizes, seed)
        if {*sizes, "train"} <= set(drawn):
            if new:
                logger.warning(
                    "%s: %d rows keep their split of an earlier run, %d rows are new",
                    origin, len(places) - new, new,
                )  # fmt: skip
            return _take(rows, drawn, sizes)
    try:
        return _take(rows, _draw(rows, aside, sizes, seed, needed=True), sizes)
    except InputError as error:
        if not any(aside):
            raise
        raise InputError(
            f"{error}; {aside.count('train')} rows without a text stay in training (text_column)"
        ) from error


def _take(
    rows: SplitRows, places: Sequence[str], sizes: Mapping[str, float]
) -> dict[str, SplitRows]:
    return {
        split: rows.take([index for index, place in enumerate(places) if place == split])
        for split in (*sizes, "train")
    }


def _lack_content(rows: SplitRows) -> list[bool]:
    """Return which rows have no text, and are of no group with another row that has one."""
    has_text = [any(key) for key in rows.text_keys()]
    if all(has_text):
        return [False] * len(has_text)
    units = rows.units() or range(len(has_text))
    with_text = {unit for unit, has in zip(units, has_text, strict=True) if has}
    return [unit not in with_text for unit in units]


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
    units = rows.units() if any(places) else None
    if units is None:
        return places
    of_unit: dict[int, str] = {}
    # The last one wins: a group with a row that was trained on is in training as a whole.
    for split in ("test", "validation", "train"):
        for unit, place in zip(units, places, strict=True):
            if place == split:
                of_unit[unit] = split
    return [of_unit.get(unit) for unit in units]


def _draw(
    rows: SplitRows,
    places: Sequence[str | None],
    sizes: Mapping[str, float],
    seed: int,
    *,
    needed: bool = False,
) -> list[str]:
    """Draw the splits of rows without a place; a split that they are too few for stays as it is.

    With ``needed`` that is an error.
    """
    drawn = list(places)
    for split, size in sizes.items():
        new = [index for index, place in enumerate(drawn) if place is None]
        try:
            _, moved = rows.take(new).draw(size, seed)
        except InputError:
            if needed:
                raise
            continue
        for index in moved:
            drawn[new[index]] = split
    return [place or "train" for place in drawn]
