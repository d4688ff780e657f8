"""Labels in a file of their own, joined to the texts by an id."""

from __future__ import annotations

import logging
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from zlpr_hf.data.columns import check_column, read_column
from zlpr_hf.errors import InputError

logger = logging.getLogger(__name__)


def join_labels_file(
    texts: Dataset, origin: str, labels: Dataset, path: Path, id_column: str
) -> Dataset:
    """Return the rows of ``texts`` with the columns of ``labels``, one row per label row.

    A text without a row in ``labels`` keeps empty cells.

    Raises:
        InputError: If a file lacks the id, two texts have the same, no id is in both files, or
            both have another column of the same name.
    """
    ids = _read_ids(texts, id_column, origin)
    place = {each: index for index, each in enumerate(ids)}
    if len(place) < len(ids):
        twice = next(each for index, each in enumerate(ids) if place[each] != index)
        raise InputError(f"{origin}, column {id_column!r}: several texts have the id {twice!r}")
    rows: list[list[int]] = [[] for _ in ids]
    unknown = 0
    for number, each in enumerate(_read_ids(labels, id_column, str(path))):
        if each in place:
            rows[place[each]].append(number)
        else:
            unknown += 1
    found = sum(map(len, rows))
    if not found:
        raise InputError(
            f"{path}: no {id_column!r} of this file is in {origin}, such as {ids[0]!r} (id_column)"
        )
    logger.warning(
        "%s: %d label rows joined to %d of %d texts by %r; %d label rows belong to no text",
        path, found, sum(map(bool, rows)), len(ids), id_column, unknown,
    )  # fmt: skip
    return _joined(texts, labels, rows, id_column, f"{origin} and {path}")


def _joined(
    texts: Dataset, labels: Dataset, rows: list[list[int]], id_column: str, where: str
) -> Dataset:
    both = set(texts.column_names) & set(labels.column_names) - {id_column}
    if both:
        raise InputError(f"{where}: both have a column {min(both)!r}; rename or remove one of them")
    labels = labels.remove_columns(id_column)
    matches = [number for found in rows for number in (found or (None,))]
    columns = {
        name: [None if number is None else values[number] for number in matches]
        for name, values in labels.to_dict().items()
    }
    left = texts.select([index for index, found in enumerate(rows) for _ in found or (None,)])
    right = Dataset.from_dict(columns, features=labels.features)
    return concatenate_datasets([left, right], axis=1)


def _read_ids(rows: Dataset, column: str, origin: str) -> list[str]:
    check_column(column, rows.column_names, origin=origin, of="the ids", option="id_column")
    return [str(value) for value in read_column(rows, column, origin)]
