"""A line of JSON Lines, read strictly."""

from __future__ import annotations

import json
from typing import Any

MAX_NESTING = 100
"""Levels of lists and objects: a row nested deeper could be read but not written again."""
TOO_DEEP = f"not JSON: lists and objects nested more than {MAX_NESTING} levels deep"


def parse_json_line(line: str) -> dict[str, Any]:
    """Return the object on a line.

    Raises:
        ValueError: If the line is not a JSON object, or has a duplicate key, a NUL byte in a key,
            a lone surrogate, or too many levels.

    Example:
        >>> parse_json_line('{"text": "a"}')
        {'text': 'a'}
    """
    try:
        row = json.loads(line, object_pairs_hook=to_dict)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if line.count("[") + line.count("{") > MAX_NESTING and _depth(row) > MAX_NESTING:
        raise ValueError(TOO_DEEP)
    if not isinstance(row, dict):
        raise ValueError(f"expected one JSON object per line, got {line.strip()[:40]}")
    if "\\u" in line:
        _check_escapes(row)
    return row


def check_row(row: dict[str, Any]) -> None:
    """Raise ValueError if an object has lone surrogates, NUL bytes in keys or too many levels."""
    if _depth(row) > MAX_NESTING:
        raise ValueError(TOO_DEEP)
    _check_escapes(row)


def to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some pairs; ValueError if a key is there more than once."""
    found = dict(pairs)
    if len(found) < len(pairs):  # json would keep the last one and lose the others
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {duplicate!r}")
    return found


def _check_escapes(row: dict[str, Any]) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character (a lone surrogate) cannot be UTF-8 text") from None
    for name in row:
        if "\0" in name:  # Arrow would cut the name there
            raise ValueError(f"key {name!r:.80} has a NUL byte in it")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            item
            for each in level
            if isinstance(each, (list, dict))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
    return depth - 1
