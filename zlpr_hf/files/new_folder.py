"""Folders that are there whole or not at all."""

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
