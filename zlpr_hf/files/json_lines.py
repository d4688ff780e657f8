"""A line of JSON Lines: one object, its keys different, not nested without end."""

from __future__ import annotations

import json
from typing import Any

MAX_NESTING = 100
"""Levels of lists and objects. What nests deeper could be read and not be written again."""
TOO_DEEP = f"not JSON: lists and objects nested more than {MAX_NESTING} levels deep"


def parse_json_line(line: str) -> dict[str, Any]:
    """Read a line.

    Args:
        line: The text of one line.

    Returns:
        The object it holds.

    Raises:
        ValueError: If it is no JSON object, a key stands twice, or it nests too deep.

    Example:
        >>> parse_json_line('{"text": "a"}')
        {'text': 'a'}
    """
    try:
        row = json.loads(line, object_pairs_hook=_to_dict)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if line.count("[") + line.count("{") > MAX_NESTING and _depth(row) > MAX_NESTING:
        raise ValueError(TOO_DEEP)
    if not isinstance(row, dict):
        raise ValueError(f"expected one JSON object a line, got {line.strip()[:40]}")
    return row


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # json would keep the last one and lose the others
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return found


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
