"""InputError for what users can fix; recognition of full disks and too little memory."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Collection, Iterator

MAX_MESSAGE_LENGTH = 2000
FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Errors from Rust (safetensors, tokenizers) carry no errno, only its number in the text.
FULL_DISK_MESSAGES = re.compile(
    "No space left on device|Disk quota exceeded|File too large"
    rf"|os error ({'|'.join(map(str, FULL_DISK_ERRNOS))})\b",
    re.IGNORECASE,
)
TORCH_WRITE_FAILURES = re.compile(
    r"PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|basic_ios::clear: iostream error"
)
OUT_OF_MEMORY_MESSAGES = re.compile(
    "out of memory|can't allocate memory|not enough memory|cannot allocate memory|bad_alloc",
    re.IGNORECASE,
)


class InputError(ValueError):
    r"""Raised if data, an argument or a file is not valid.

    The command line prints the message without a stack trace and exits with status 2; in Python,
    catch it as a ``ValueError``.

    Args:
        message: Location, problem, expected and actual value, and remedy. It may quote a file or a
            library: control characters are escaped, long messages are cut and secrets are removed,
            so that the message is always a single line.

    Example:
        >>> print(InputError("no such column; there are a\nb"))
        no such column; there are a\nb
    """

    def __init__(self, message: str) -> None:
        message = hide_secrets(message)
        if len(message) > MAX_MESSAGE_LENGTH:
            message = message[:MAX_MESSAGE_LENGTH] + " ..."
        super().__init__(
            "".join(
                sign if sign.isprintable() or sign == " " else repr(sign)[1:-1] for sign in message
            )
        )


def hide_secrets(text: str) -> str:
    """Return a text without tokens for the Hub, and without user and password in addresses.

    Example:
        >>> hide_secrets("https://me:secret@example.org/data.tar.gz, Bearer abc")
        'https://example.org/data.tar.gz, (token)'
    """
    return re.sub(
        r"Bearer \S+|\bhf_[A-Za-z0-9]{20,}", "(token)", re.sub(r"(?<=://)[^/@\s]+@", "", text)
    )


def find_full_disk(error: BaseException) -> str | None:
    """Return the reason if an error, or its cause, is a full disk, a quota or a file size limit."""
    for each in _with_causes(error):
        if isinstance(each, OSError) and each.errno is not None:
            if each.errno in FULL_DISK_ERRNOS:
                where = "" if each.filename is None else f": {each.filename}"
                return f"{os.strerror(each.errno)}{where}"
        elif found := FULL_DISK_MESSAGES.search(str(each)):
            return found[0]
        elif TORCH_WRITE_FAILURES.search(str(each)):
            return "torch could not write a file"
    return None


def find_out_of_memory(error: BaseException) -> str | None:
    r"""Return one line of the message if an error, or its cause, is too little memory.

    Example:
        >>> find_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nMore"))
        'CUDA out of memory. Tried to allocate 2 GiB.'
    """
    for each in _with_causes(error):
        # torch's own error class is recognised by its message: torch may not be loaded here.
        if isinstance(each, MemoryError) or (
            isinstance(each, (RuntimeError, OSError)) and OUT_OF_MEMORY_MESSAGES.search(str(each))
        ):
            lines = str(each).strip().splitlines()
            return lines[0][:200] if lines else type(each).__name__
    return None


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def suggest(name: str, known: Collection[str], *, otherwise: str = "") -> str:
    """Return the end of a message: the known name closest to an unknown one, or ``otherwise``.

    Case and surrounding blanks do not count.

    Example:
        >>> suggest("f1_mirco", ["f1_micro", "f1_macro"])
        '. Did you mean "f1_micro"?'
        >>> suggest("TEXT", [" text", "test"])
        '. Did you mean " text"?'
    """
    plain = {each.strip().casefold(): each for each in known}
    near = difflib.get_close_matches(name.strip().casefold(), plain, n=1)
    if not near:
        return otherwise
    return f'. Did you mean "{plain[near[0]]}"?'
