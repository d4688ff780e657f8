"""Errors a user can fix, and the two that libraries report in many ways: full disk, no memory."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Collection

MAX_MESSAGE_LENGTH = 2000
FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Those of Rust have no number, such as safetensors and tokenizers.
FULL_DISK_MESSAGES = re.compile(
    "No space left on device|Disk quota exceeded|File too large"
    rf"|os error ({'|'.join(map(str, FULL_DISK_ERRNOS))})\b",
    re.IGNORECASE,
)
# All that torch says is that it could not write.
TORCH_WRITE_FAILURES = re.compile(
    r"PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|basic_ios::clear: iostream error"
)
OUT_OF_MEMORY_MESSAGES = re.compile(
    "out of memory|can't allocate memory|not enough memory|cannot allocate memory|bad_alloc",
    re.IGNORECASE,
)


class InputError(ValueError):
    r"""Raised when data, an argument or a file is not what was expected.

    The command line prints the message without a stack trace and exits with status 2; library users
    catch it as a ``ValueError``.

    Args:
        message: What is wrong, where, and what was expected. It may quote what a file or a library
            says: line breaks and other control characters are escaped, a long one is cut, and
            secrets are taken out, so that it is one line on a terminal, whatever the file.

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
    """A text without tokens for the Hub, and without user and password in addresses.

    Args:
        text: Anything.

    Returns:
        The text as it is where there are none.

    Example:
        >>> hide_secrets("https://me:secret@example.org/data.tar.gz, Bearer abc")
        'https://example.org/data.tar.gz, (token)'
    """
    return re.sub(
        r"Bearer \S+|\bhf_[A-Za-z0-9]{20,}", "(token)", re.sub(r"(?<=://)[^/@\s]+@", "", text)
    )


def find_full_disk(error: BaseException) -> str | None:
    """Whether an error comes from a disk without space, a quota or a limit on the size of files.

    Args:
        error: Anything raised; what it was raised from is looked at too.

    Returns:
        What was said, in a few words, with the file where that is known; None for other errors.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            if seen.errno in FULL_DISK_ERRNOS:
                where = "" if seen.filename is None else f": {seen.filename}"
                return f"{os.strerror(seen.errno)}{where}"
        elif found := FULL_DISK_MESSAGES.search(str(seen)):
            return found[0]
        elif TORCH_WRITE_FAILURES.search(str(seen)):
            return "torch could not write a file"
        seen = seen.__cause__ or seen.__context__
    return None


def find_out_of_memory(error: BaseException) -> str | None:
    r"""Whether an error comes from too little memory, of the processor or of an accelerator.

    Args:
        error: Anything raised; what it was raised from is looked at too.

    Returns:
        What was said, in one line; None for other errors.

    Example:
        >>> find_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nMore"))
        'CUDA out of memory. Tried to allocate 2 GiB.'
        >>> find_out_of_memory(ValueError("no such column")) is None
        True
    """
    seen: BaseException | None = error
    while seen is not None:
        # Of torch's own class for it the message says so, and torch need not be loaded here.
        if isinstance(seen, MemoryError) or (
            isinstance(seen, (RuntimeError, OSError)) and OUT_OF_MEMORY_MESSAGES.search(str(seen))
        ):
            lines = str(seen).strip().splitlines()
            return lines[0][:200] if lines else type(seen).__name__
        seen = seen.__cause__ or seen.__context__
    return None


def suggest(name: str, known: Collection[str], *, otherwise: str = "") -> str:
    """Return the end of a message: the known name nearest to an unknown one.

    A name that differs only in case or surrounding blanks is the nearest.

    Args:
        name: The unknown name.
        known: The names that exist.
        otherwise: Returned if none of them is close.

    Example:
        >>> suggest("f1_mirco", ["f1_micro", "f1_macro"])
        '; did you mean f1_micro?'
        >>> suggest("TEXT", [" text", "test"])
        "; did you mean ' text'?"
    """
    plain = {each.strip().casefold(): each for each in known}
    near = difflib.get_close_matches(name.strip().casefold(), plain, n=1)
    if not near:
        return otherwise
    found = plain[near[0]]
    return f"; did you mean {found if found == found.strip() else repr(found)}?"
