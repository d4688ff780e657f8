"""Text files, compressed or not, and standard input, opened as streams of text."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, TextIO

from zlpr_hf.errors import InputError

COMPRESSED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
STDIN = "-"
DAMAGED = (EOFError, OSError, RuntimeError, UnicodeError, lzma.LZMAError, zlib.error)
"""Errors of a file that is cut off, corrupt, encrypted or in another encoding than it says."""


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn the errors of damaged files into one line.

    Raises:
        InputError: If the file cannot be read to its end.
    """
    try:
        yield
    except (*DAMAGED, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read to its end: {reason}") from error


def open_text(path: str, newline: str | None = None) -> TextIO:
    """Open a text file, compressed or not, or standard input.

    Files are UTF-8, or UTF-16 with a byte order mark; other bytes become lone surrogates.
    """
    if path == STDIN:
        return TextIOWrapper(sys.stdin.buffer, "utf-8-sig", "surrogateescape", newline)
    with _open_bytes(path) as stream:
        start = stream.read(2)
    encoding = "utf-16" if start in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    return TextIOWrapper(_open_bytes(path), encoding, "surrogateescape", newline)


def _open_bytes(path: str) -> IO[bytes]:
    suffix = Path(path).suffix.lower()
    if suffix == ".zip":
        return _open_zip(path)
    if suffix in COMPRESSED:
        stream: IO[bytes] = COMPRESSED[suffix](path, "rb")
        return stream
    return open(path, "rb")


def _open_zip(path: str) -> IO[bytes]:
    return zipfile.ZipFile(path).open(_zip_member(path))


def zip_member_suffix(path: str) -> str:
    """Return the suffix of the only file in an archive."""
    return Path(_zip_member(path)).suffix.lower()


def _zip_member(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a zip archive: {error}") from error
    members = [name for name in names if not name.endswith("/")]
    members = [name for name in members if not name.startswith("__MACOSX/")]
    if len(members) != 1:
        raise InputError(f"{path}: expected one file in the archive, got {len(members)}")
    return members[0]
