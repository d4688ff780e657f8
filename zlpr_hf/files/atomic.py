"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zlpr_hf.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, with the same suffix; on success it replaces ``path``.

    Its name is always the same, so that the next run removes the one that a killed run left.
    """
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all; text is encoded as UTF-8."""
    with whole_file(path) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, completely or not at all."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def part_of(path: Path) -> Path:
    """Return the name of a file while it is being written."""
    return path.with_name(f"part-{path.name}")


def is_free(folder: Path) -> bool:
    """Return True if nothing is at this place, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it replaces ``folder``.

    Leftovers of killed runs are removed: a lock tells them from the folder of a running one.
    """
    folder = folder.resolve()
    os.scandir(folder.parent).close()  # fail early if it is missing: the lock would create it
    lock_path = folder.with_name(f".{folder.name}-lock")
    lock = FileLock(lock_path)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"{folder}: another run is writing it now") from error
    token = secrets.token_hex(4)
    part, old = (folder.with_name(f".{folder.name}-{word}-{token}") for word in ("part", "old"))
    try:
        part.mkdir()
        yield part
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if folder.exists():  # otherwise the old folder is the only one
            _remove_leftovers(folder)
        lock_path.unlink(missing_ok=True)
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(folder.name)}-(part|old)-[0-9a-f]{{8}}")
    for leftover in [each for each in folder.parent.iterdir() if pattern.fullmatch(each.name)]:
        shutil.rmtree(leftover, ignore_errors=True)
