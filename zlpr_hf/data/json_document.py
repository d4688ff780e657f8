"""Rows of a JSON file that is one document: an array, or an object around the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import check_row, to_dict

ROW_KEYS = ("data", "rows", "examples", "records", "items", "instances")


def rows_of_document(text: str, origin: str) -> Iterator[dict[str, Any]]:
    """Return the rows of a JSON document.

    Reads an array of objects, an object with the array under one key, the orientations of
    ``pandas.DataFrame.to_json``, and the tasks of Label Studio.

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
    for number, row in enumerate(rows, start=1):
        try:
            if not isinstance(row, dict):
                raise ValueError(f"expected an object, got {row!r:.40}")
            check_row(row)
        except ValueError as error:
            raise InputError(f"{origin}, row {number}: {error}") from error
        yield from _rows_of_task(row)


def find_rows(document: Any) -> list[Any] | None:
    """Return the rows of a document, None if it has no form that holds rows."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    if set(document) >= {"columns", "data"} and isinstance(document["columns"], list):
        names = document["columns"]
        return [dict(zip(names, cells, strict=True)) for cells in document["data"]]
    for key in ROW_KEYS:
        rows = document.get(key)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
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


def _rows_of_task(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one row per annotation of a Label Studio task; other rows stay as they are."""
    annotations = row.get("annotations", row.get("completions"))
    if not isinstance(row.get("data"), Mapping) or not isinstance(annotations, list):
        yield row
        return
    for annotation in annotations or [{}]:
        labels: dict[str, list[str] | None] = {}
        for result in annotation.get("result", ()):
            value = result.get("value", {})
            for chosen in (value.get("choices"), value.get("labels")):
                if isinstance(chosen, list):
                    labels[result["from_name"]] = [
                        *(labels.get(result["from_name"]) or ()),
                        *chosen,
                    ]
        yield {
            **row["data"],
            **labels,
            "was_cancelled": bool(annotation.get("was_cancelled", not annotations)),
        }
