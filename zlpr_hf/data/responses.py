"""Responses of several annotators in one row, as Argilla stores them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from zlpr_hf.data.label_cells import is_missing
from zlpr_hf.data.written_cells import parse_written

if TYPE_CHECKING:
    from datasets import Dataset


def split_responses(rows: Dataset, label_columns: Collection[str]) -> Dataset:
    """Return one row per response if a label column holds responses; other rows stay as they are.

    The status of each response becomes the column ``status``, which is read as a verdict.
    """
    for name in label_columns:
        if name not in rows.column_names:
            continue
        statuses = f"{name}.status"
        status = rows[statuses] if statuses in rows.column_names else None
        responses = find_responses(rows[name], status)
        if responses is not None:
            return _one_per_row(rows, name, responses)
    return rows


def find_responses(
    cells: Iterable[Any], statuses: Iterable[Any] | None
) -> list[list[tuple[Any, Any]]] | None:
    """Return value and status of each response in a column, None if it holds no responses.

    Args:
        cells: The cells of the column.
        statuses: Those of the column of statuses beside it, if there is one.
    """
    if statuses is not None:
        return [list(_paired(*pair)) for pair in zip(cells, statuses, strict=True)]
    first = next((cell for cell in cells if cell), None)
    if isinstance(first, list) and first:
        first = first[0]
    if isinstance(first, dict) and {"value", "status"} <= set(first):
        return [list(_from_objects(cell)) for cell in cells]
    return None


def _one_per_row(rows: Dataset, name: str, responses: list[list[tuple[Any, Any]]]) -> Dataset:
    from datasets import Dataset, concatenate_datasets  # takes a second to load

    indices = [index for index, found in enumerate(responses) for _ in found or (None,)]
    flat = [pair for found in responses for pair in found or ((None, None),)]
    kept = rows.select(indices)
    record = kept["status"] if "status" in kept.column_names else [None] * len(flat)
    status = [
        status or whole or ("pending" if value is None else "submitted")
        for (value, status), whole in zip(flat, record, strict=True)
    ]
    replaced = Dataset.from_dict({name: [value for value, _ in flat], "status": status})
    kept = kept.remove_columns([each for each in (name, "status") if each in kept.column_names])
    return concatenate_datasets([kept, replaced], axis=1)


def _paired(values: Any, statuses: Any) -> Iterator[tuple[Any, Any]]:
    values, statuses = _open(values), _open(statuses)
    yield from zip(values, statuses or [None] * len(values), strict=True)


def _from_objects(cell: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(cell, dict):  # a mapping of lists, as older releases of datasets write it
        yield from _paired(cell.get("value"), cell.get("status"))
        return
    for each in cell or ():
        yield each.get("value"), each.get("status")


def _open(cell: Any) -> list[Any]:
    if is_missing(cell):
        return []
    found = parse_written(cell) if isinstance(cell, str) else cell
    return list(found) if isinstance(found, (list, tuple)) else [found]
