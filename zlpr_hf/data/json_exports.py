"""Rows of JSON exports of annotation tools, flattened to columns of texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Rows = Iterator[dict[str, Any]]


def rows_of_export(row: Any) -> list[Any]:
    """Return the rows that an exported object stands for; other objects stay as they are.

    Raises:
        ValueError: If the object lacks a part.
    """
    for is_export, rows in EXPORTS:
        if is_export(row):
            try:
                return list(rows(row))
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"an export without a part that it should have: {error}"
                ) from error
    return [row]


def _is_label_studio_task(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("data"), Mapping)
        and isinstance(row.get("annotations", row.get("completions")), list)
    )


def _label_studio_rows(row: dict[str, Any]) -> Rows:
    """Yield one row per annotation, with a column per ``from_name``."""
    annotations = row.get("annotations", row.get("completions"))
    for annotation in annotations or [{}]:
        labels: dict[str, list[Any]] = {}
        for result in annotation.get("result", ()):
            value = result.get("value", {})
            for chosen in (value.get(key) for key in ("choices", "labels", "taxonomy")):
                if isinstance(chosen, list):
                    labels.setdefault(result["from_name"], []).extend(chosen)
        cancelled = bool(annotation.get("was_cancelled", not annotations))
        yield {**row["data"], **labels, "was_cancelled": cancelled}


def _is_argilla_record(row: Any) -> bool:
    return isinstance(row, dict) and all(
        isinstance(row.get(key), Mapping) for key in ("fields", "responses")
    )


def _argilla_rows(row: dict[str, Any]) -> Rows:
    """Yield the record with the columns of ``records.to_datasets()``."""
    columns = dict(row["fields"])
    for question, responses in row["responses"].items():
        columns[f"{question}.responses"] = [each.get("value") for each in responses]
        columns[f"{question}.responses.status"] = [each.get("status") for each in responses]
    yield {**columns, "status": row.get("status")}


def _is_prodigy_choice(row: Any) -> bool:
    """Whether options were chosen by number; chosen names need no translation."""
    if not isinstance(row, dict) or not isinstance(row.get("options"), list):
        return False
    accepted = row.get("accept")
    return isinstance(accepted, list) and any(isinstance(each, int) for each in accepted)


def _prodigy_rows(row: dict[str, Any]) -> Rows:
    texts = {option["id"]: option["text"] for option in row["options"]}
    yield {**row, "accept": [texts.get(each, each) for each in row["accept"]]}


def _is_spacy_example(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[0], str)
        and isinstance(row[1], dict)
    )


def _spacy_rows(row: list[Any]) -> Rows:
    yield {"text": row[0], **row[1]}


def _is_spacy_document(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("paragraphs"), list)


def _spacy_document_rows(row: dict[str, Any]) -> Rows:
    for each in row["paragraphs"]:
        cats = {cat["label"]: cat["value"] for cat in each.get("cats", ())}
        yield {"text": each.get("raw"), "cats": cats or None}


EXPORTS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Rows]], ...] = (
    (_is_label_studio_task, _label_studio_rows),
    (_is_argilla_record, _argilla_rows),
    (_is_prodigy_choice, _prodigy_rows),
    (_is_spacy_example, _spacy_rows),
    (_is_spacy_document, _spacy_document_rows),
)
"""How to recognise an export, and its rows. To support another one, add it here."""
