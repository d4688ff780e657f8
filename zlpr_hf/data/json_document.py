"""Rows of a JSON file that is one document: an array, or an object around the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from zlpr_hf.data.json_exports import rows_of_export
from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import check_row, to_dict

ROW_KEYS = ("data", "rows", "examples", "records", "items", "instances")


def rows_of_document(text: str, origin: str) -> Iterator[dict[str, Any]]:
    """Return the rows of a JSON document.

    Reads an array of objects, an object with the array under one key, the orientations of
    ``pandas.DataFrame.to_json``, and exports of annotation tools.

    Raises:
        InputError: If the document is not valid JSON or holds no rows.
    """
    try:
        rows = find_rows(json.loads(text, object_pairs_hook=to_dict))
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{origin}: not JSON: {reason}") from None
    if rows is None:
        raise InputError(
            f"{origin}: no rows in this JSON document; expected an array of objects, or one object "
            "per line"
        )
    for number, document in enumerate(rows, start=1):
        try:
            for row in rows_of_export(document):
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object, got {row!r:.40}")
                check_row(row)
                yield row
        except ValueError as error:
            raise InputError(f"{origin}, row {number}: {error}") from error


def find_rows(document: Any) -> list[Any] | None:
    """Return the rows of a document, None if it has no form that holds rows."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    if set(document) >= {"columns", "data"} and isinstance(document["columns"], list):
        return _table_rows(document["columns"], document["data"])
    for key in ROW_KEYS:
        rows = document.get(key)
        if rows and isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
    values = list(document.values())
    if values and all(isinstance(each, dict) for each in values):
        keys = list(values[0])
        if all(list(each) == keys for each in values):
            if keys and keys[0].isdecimal():  # columns of pandas, by row number
                return [{name: document[name][key] for name in document} for key in keys]
            return values
    if (
        len(values) > 1
        and all(isinstance(each, list) for each in values)
        and len(set(map(len, values))) == 1
    ):
        return [dict(zip(document, cells, strict=True)) for cells in zip(*values, strict=True)]
    return None


def _table_rows(names: list[Any], rows: Any) -> list[Any] | None:
    """Return the rows of a table with its column names beside it, None if they do not fit."""
    fits = isinstance(rows, list) and all(
        isinstance(cells, list) and len(cells) == len(names) for cells in rows
    )
    if not fits or not all(isinstance(name, str) for name in names):
        return None
    return [dict(zip(names, cells, strict=True)) for cells in rows]
