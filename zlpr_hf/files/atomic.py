"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from zlpr_hf.errors import InputError


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


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder beside its place, and put it there when all went well.

    What killed runs left beside it is removed: a lock tells it from what another run writes now.

    Args:
        folder: The place; what is there is replaced.

    Yields:
        The folder to fill, of a name that nobody else has.

    Raises:
        InputError: If another run is writing the same folder now.
    """
    folder = folder.resolve()
    os.scandir(folder.parent).close()  # there must be one: a lock would make it, or say little
    path = folder.with_name(f".{folder.name}-lock")
    lock = FileLock(path)
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
        if folder.exists():  # else what is old is all there is
            ours = re.compile(rf"\.{re.escape(folder.name)}-(part|old)-[0-9a-f]{{8}}")
            for left in [each for each in folder.parent.iterdir() if ours.fullmatch(each.name)]:
                shutil.rmtree(left, ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.release()
