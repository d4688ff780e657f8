"""Names of labels in the order of their ids, from a file."""

from __future__ import annotations

import json
from pathlib import Path

from zlpr_hf.errors import InputError


def read_label_names(path: Path) -> tuple[str, ...]:
    """Read label names in the order of their ids.

    Args:
        path: A text file with one name a line, or a ``.json`` file with a list of names.

    Returns:
        The names.

    Raises:
        InputError: If the file is missing or is not such a list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Not splitlines, to which rarer characters end a line too: ids would shift.
        names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected label names, one a line: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: expected a JSON list of label names")
    stripped = [name.strip() for name in names]
    while stripped and not stripped[-1]:
        stripped.pop()
    seen: set[str] = set()
    for number, name in enumerate(stripped, start=1):
        # A line left empty would shift the ids of all that follow.
        if not name:
            raise InputError(f"{path}, line {number}: expected a label name, got an empty line")
        if name in seen:
            raise InputError(f"{path}, line {number}: label {name!r} stands twice")
        seen.add(name)
    return tuple(stripped)
