"""Arrays of an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError

DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, BadZipFile, ZlibError,
)  # fmt: skip
"""What zip archives and arrays raise when some of their bytes are wrong."""


def read_arrays(path: Path, *, remedy: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name.

    Args:
        path: A file that ``numpy.savez`` or ``numpy.savez_compressed`` wrote.
        remedy: How to go on if the file is damaged, such as "remove it to train again".

    Raises:
        InputError: If the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as stored:
            return dict(stored)
    except DAMAGE as error:
        raise InputError(f"{path}: cannot be read ({error}); {remedy}") from error
