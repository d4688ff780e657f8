"""Folders that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder beside its place, and put it there when all went well.

    Args:
        folder: The place; what is there is replaced.

    Yields:
        The folder to fill, of a name that nobody else has.
    """
    folder = folder.resolve()
    token = secrets.token_hex(4)
    part, old = (folder.with_name(f".{folder.name}-{word}-{token}") for word in ("part", "old"))
    part.mkdir()
    try:
        yield part
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
