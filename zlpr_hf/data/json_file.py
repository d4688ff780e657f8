"""JsonFile: JSON Lines, or one JSON document with the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zlpr_hf.data.json_document import find_rows, rows_of_document
from zlpr_hf.data.json_exports import rows_of_export
from zlpr_hf.data.row_file import (
    Defect,
    RowFile,
    find_bad_byte,
)
from zlpr_hf.data.text_streams import STDIN, open_text
from zlpr_hf.errors import InputError
from zlpr_hf.files.json_lines import parse_json_line

JSON_LINES = {".jsonl", ".ndjson"}
"""Suffixes of files in which a line is a row, even if it is the only one."""


class JsonFile(RowFile):
    """JSON Lines, or one JSON document with the rows; each row has its own columns."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._document = path != STDIN and self._is_document()

    @property
    def description(self) -> str:
        """The format in words."""
        return "a JSON document" if self._document else "JSON Lines"

    def _is_document(self) -> bool:
        with open_text(self.path) as stream:
            lines = (line.strip() for line in stream if line.strip())
            first, second = next(lines, ""), next(lines, "")
        if first.startswith("["):
            return True
        if JSON_LINES.intersection(Path(self.path).suffixes) and first.endswith("}"):
            return False
        try:
            row = json.loads(first)
        except (ValueError, RecursionError):
            return first.startswith("{") and not second.startswith("{")
        # One line may be a single row, or all rows in one object.
        return not second and isinstance(row, dict) and find_rows(row) is not None

    def __iter__(self) -> Iterator[dict[str, Any] | Defect]:
        with open_text(self.path) as stream:
            if self._document:
                lines = stream.readlines()
                bad = find_bad_byte(lines, 1)
                if bad is not None:
                    raise InputError(f"{self.path}, line {bad.line}: {bad.reason}")
                yield from rows_of_document("".join(lines), self.path)
                return
            for number, line in enumerate(stream, start=1):
                self.line = number
                if line.strip():
                    bad = find_bad_byte([line], number)
                    yield from [bad] if bad else _parse_object(line, number)


def _parse_object(line: str, number: int) -> list[dict[str, Any]] | list[Defect]:
    try:
        return rows_of_export(parse_json_line(line))
    except ValueError as error:
        return [Defect(str(error), line.rstrip("\n"), number)]
