"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file beside its place, and put it there when all went well.

    Args:
        path: The place; what is there is replaced.

    Yields:
        The file to write, with the same ending. Its name is always the same, so that the next run
        takes away what a killed one left.
    """
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all.

    Args:
        path: The file; what is there is replaced.
        content: Bytes, or text that becomes UTF-8.
    """
    with whole_file(path) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def part_of(path: Path) -> Path:
    """What a file is called as long as it is being written.

    Args:
        path: The file.
    """
    return path.with_name(f"part-{path.name}")
