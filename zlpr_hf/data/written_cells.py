"""Structures in label cells: lists, sets, vectors and objects, native or written as text."""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

NAME_KEYS = ("name", "label", "title", "tag", "category", "topic", "class", "value", "text", "id")
"""Keys that hold the name in lists of objects, in the order of preference."""
LIST_KEYS = ("choices", "labels", "taxonomy")
"""Keys that hold all names of a part of a text, beside the part itself."""
SCORE_KEYS = ("score", "probability", "confidence", "prob")
FLAG_KEYS = ("value", "selected", "checked", "present", "applies", "active", "flag")
"""Keys that may say whether the label of an object applies."""
MAX_STRUCTURE_LENGTH = 1_000_000
"""Characters per cell that are parsed; Python's parser needs a multiple of them in memory."""
OPENING = re.compile(r"\[|\{|\(|<|(?:np\.|numpy\.|torch\.)?(?:array|tensor|set|frozenset)\(")
WRAPPER = re.compile(
    r"(?:np\.|numpy\.|torch\.)?(?:array|tensor|set|frozenset)\((.*?)(?:,\s*(?:dtype|device)=.*)?\)",
    re.DOTALL,
)
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+|nan|NaN)"
VECTOR = re.compile(rf"[\[{{]\s*({NUMBER}(?:[\s,]+{NUMBER})*)\s*,?\s*[\]}}]")
BARE = re.compile(r"\[([^\[\]{}'\"]*)\]|\{([^\[\]{}:]*)\}|((?:<[^<>]+>)+)", re.DOTALL)
MAX_DIGITS = 100
BARE_ITEM = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,"]*))\s*(?:,|$)')


class StructureError(Exception):
    """A structure that cannot be read as labels; the caller adds the place."""


def parse_written(text: str) -> Any:
    """Return the list or mapping that a text spells unmistakably, or None.

    Reads JSON, Python literals (lists, tuples, sets) and vectors as numpy and torch print them.

    Raises:
        StructureError: If a part of the structure was lost when it was written.

    Example:
        >>> parse_written("['a', 'b']"), parse_written("[1. 0.]"), parse_written("a;b")
        (['a', 'b'], [1.0, 0.0], None)
    """
    text = text.strip()
    if not OPENING.match(text) or len(text) > MAX_STRUCTURE_LENGTH:
        return None
    if wrapped := WRAPPER.fullmatch(text):
        text = wrapped[1].strip() or "[]"
    if text in ("[]", "()"):
        return []
    if text == "{}":
        return {}
    if vector := VECTOR.fullmatch(text):
        return [_to_number(part) for part in re.split(r"[\s,]+", vector[1])]
    if re.search(r"[\[\s,]\.\.\.[\s,\]]", text):
        raise StructureError(f"an array that was cut when it was written: {text!r:.80}")
    return _parse_json(text) or _parse_literal(text)


def parse_bare(text: str) -> list[str] | None:
    """Return the names in brackets, braces or tags without quotes, such as ``[a, b]``, or None.

    Names may have such signs themselves, so that this is a reading of a whole column only.

    Example:
        >>> parse_bare("[a, b]"), parse_bare('{a,"b c"}'), parse_bare("<a><b>"), parse_bare("a")
        (['a', 'b'], ['a', 'b c'], ['a', 'b'], None)
    """
    found = BARE.fullmatch(text.strip())
    if found is None:
        return None
    if found[3] is not None:
        return found[3][1:-1].split("><")
    items = BARE_ITEM.finditer(found[1] if found[1] is not None else found[2])
    names = [(item[1] if item[1] is not None else item[2]).strip() for item in items]
    return [name for name in names if name]


def is_broken_structure(name: str) -> bool:
    """Whether a name opens or closes a bracket without its counterpart: a structure was split."""
    pairs = (("[", "]"), ("{", "}"))
    return any(name.count(opened) != name.count(closed) for opened, closed in pairs)


def unpack(value: Any) -> Any:
    """Return the labels in a structure: a list of names or numbers, or a mapping to values.

    Wrappers such as ``{"choices": [...]}`` are opened, and objects with a name become the name.

    Raises:
        StructureError: If the structure has no such reading, or several.

    Example:
        >>> unpack({"choices": ["a"]}), unpack([{"id": 18, "name": "Drama"}]), unpack({"a": 1})
        (['a'], ['Drama'], {'a': 1})
    """
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)  # the order of a set changes from process to process
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, Mapping):
        return _unpack_mapping(value)
    if isinstance(value, list) and value:
        if all(isinstance(item, Mapping) for item in value):
            return _unpack_objects(value)
        if any(isinstance(item, (list, tuple)) for item in value):
            raise StructureError(
                f"a list of lists, {value!r:.80}; expected one list of names (write each path of "
                "labels as one name, such as 'a/b', or keep its last part)"
            )
    return value


def _unpack_mapping(value: Mapping[str, Any]) -> Any:
    present = {key: each for key, each in value.items() if each is not None}
    if all(isinstance(each, (int, float)) for each in present.values()):
        return dict(value)
    lists = [each for each in present.values() if isinstance(each, (list, tuple, set))]
    if len(present) == 1 and lists:
        return unpack(lists[0])
    if len(present) == 1 and isinstance(next(iter(present.values())), str):
        return list(present.values())
    raise StructureError(
        f"an object, {value!r:.80}; expected names with 0 or 1, or a single list of names"
    )


def _unpack_objects(objects: list[Mapping[str, Any]]) -> list[Any]:
    if all(len(each) == 1 and isinstance(next(iter(each.values())), list) for each in objects):
        return [name for each in objects for name in next(iter(each.values()))]
    shared = set.intersection(*(set(each) for each in objects))
    for key in LIST_KEYS:
        if key in shared and all(isinstance(each[key], list) for each in objects):
            return list(dict.fromkeys(name for each in objects for name in each[key]))
    if any(key in shared for key in SCORE_KEYS) or any(
        key in shared and all(each[key] in (0, 1) for each in objects) for key in FLAG_KEYS
    ):
        raise StructureError(
            f"objects with scores or flags, {objects!r:.80}; expected the names of the labels that "
            "apply"
        )
    by_case = {key.lower(): key for key in shared}
    for name in NAME_KEYS:
        found = by_case.get(name)
        if found is not None and all(isinstance(each[found], str) for each in objects):
            return [each[found] for each in objects]
    if "label" in by_case:
        raise StructureError(
            f"objects with the ids of another tool, {objects!r:.80}; export the labels with their "
            "names, or write a list of names per row"
        )
    raise StructureError(
        f"objects without a name, {objects!r:.80}; expected one of {', '.join(NAME_KEYS)}"
    )


def _parse_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (list, dict)) else None


def _parse_literal(text: str) -> Any:
    try:
        strings = _adjacent_strings(text)
        value = ast.literal_eval(text) if strings is None else strings
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None
    if isinstance(value, str) and text.startswith("("):
        return [value]
    return value if isinstance(value, (list, tuple, set, dict)) else None


def _adjacent_strings(text: str) -> list[str] | None:
    """Return the strings of ``['a' 'b']``, as numpy writes them; Python would join the strings."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.string.strip()
    ]
    kinds = [token.type for token in tokens]
    if not any(a == b == tokenize.STRING for a, b in pairwise(kinds)):
        return None
    if set(kinds[1:-1]) != {tokenize.STRING}:
        raise ValueError
    return [str(ast.literal_eval(token.string)) for token in tokens[1:-1]]


def _to_number(part: str) -> int | float:
    if part.lstrip("+-").isdecimal():
        return int(part) if len(part) <= MAX_DIGITS else math.inf
    return math.nan if part.lower() == "nan" else float(part)
