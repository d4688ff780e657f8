"""A full disk: how the libraries that write files say so."""

from __future__ import annotations

import errno
import re

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Those of Rust and C++ have no number: safetensors, tokenizers, Arrow, and torch, which says no
# more than that it could not write.
SAID = re.compile(
    "No space left on device|Disk quota exceeded|File too large"
    rf"|os error ({'|'.join(map(str, CODES))})\b"
    "|PytorchStreamWriter failed writing|file write failed|iostream error|unexpected pos",
    re.IGNORECASE,
)


def find_full_disk(error: BaseException) -> str | None:
    """Whether an error comes from a disk without space, a quota or a limit on the size of files.

    Args:
        error: Anything raised; what it was raised from is looked at too.

    Returns:
        What was said, in one line, with the file where that is known; None for other errors.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            found = seen.errno in CODES
        else:
            found = SAID.search(str(seen)) is not None
        if found:
            lines = str(seen).strip().splitlines()
            return f"{lines[0][:200]}" if lines else type(seen).__name__
        seen = seen.__cause__ or seen.__context__
    return None
