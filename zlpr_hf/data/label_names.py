"""Files of label names, in the order of their ids."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zlpr_hf.data.label_cells import clean_name
from zlpr_hf.errors import InputError

ID_AND_NAME = re.compile(r"\d+\s*[,;\t|]|\d+ ")
HEADERS = frozenset({"name", "names", "label", "labels", "id,name", "id;name", "class", "classes"})


def read_label_names(path: Path) -> tuple[str, ...]:
    """Read label names in the order of their ids: one per line, or a ``.json`` list.

    Raises:
        InputError: If the file is missing, or has a duplicate or empty name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Not splitlines, which splits at rarer characters too: ids would shift.
        names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected label names, one per line: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: expected a JSON list of label names")
    stripped = [clean_name(name) for name in names]
    while stripped and not stripped[-1]:
        stripped.pop()
    seen: set[str] = set()
    for number, name in enumerate(stripped, start=1):
        # Skipping an empty line would shift the ids of all that follow.
        if not name:
            raise InputError(f"{path}, line {number}: expected a label name, got an empty line")
        if name in seen:
            raise InputError(f"{path}, line {number}: duplicate label {name!r}")
        seen.add(name)
    if stripped and (stripped[0].lower() in HEADERS or stripped[0].startswith("# ")):
        raise InputError(
            f"{path}, line 1: {stripped[0]!r} looks like a header, which would shift all ids; "
            "remove this line"
        )
    if len(stripped) > 1 and all(map(ID_AND_NAME.match, stripped[-2:])):
        raise InputError(
            f"{path}, line {len(stripped)}: {stripped[-1]!r} looks like an id and a name; write "
            "the names alone, one per line, in the order of the ids"
        )
    return tuple(stripped)
