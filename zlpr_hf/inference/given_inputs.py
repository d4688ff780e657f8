"""Texts and pairs as a pipeline and a server take them; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zlpr_hf.errors import InputError


def read_inputs(inputs: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return rows of one or two texts from texts, or from mappings with ``text``, ``text_pair``.

    Raises:
        InputError: If an input is of another type, or there are texts beside pairs.
    """
    rows = [_read(each, position) for position, each in enumerate(inputs)]
    if len({len(row) for row in rows}) > 1:
        raise InputError("expected texts or pairs of texts, got both")
    return rows


def _read(value: Any, position: int) -> tuple[str, ...]:
    if isinstance(value, str):
        return _check_characters((value,), position)
    if isinstance(value, Mapping) and set(value) <= {"text", "text_pair"} and "text" in value:
        row = tuple(value[name] for name in ("text", "text_pair") if name in value)
        if all(isinstance(each, str) for each in row):
            return _check_characters(row, position)
    raise InputError(
        f"input {position}: expected a text or {{'text': ..., 'text_pair': ...}}, got {value!r:.60}"
    )


def _check_characters(row: tuple[str, ...], position: int) -> tuple[str, ...]:
    """Refuse half of a surrogate pair, on which the tokenizer would fail."""
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"input {position}: not valid Unicode: {error}") from error
    return row
