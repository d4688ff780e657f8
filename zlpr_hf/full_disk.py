"""A full disk: how the libraries that write files say so."""

from __future__ import annotations

import errno
import os
import re

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Those of Rust have no number, such as safetensors and tokenizers.
SAID = re.compile(
    "No space left on device|Disk quota exceeded|File too large"
    rf"|os error ({'|'.join(map(str, CODES))})\b",
    re.IGNORECASE,
)
# All that torch says is that it could not write.
TORCH_SAID = re.compile(
    r"PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|basic_ios::clear: iostream error"
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
            if seen.errno in CODES:
                where = "" if seen.filename is None else f": {seen.filename}"
                return f"{os.strerror(seen.errno)}{where}"
        elif found := SAID.search(str(seen)):
            return found[0]
        elif TORCH_SAID.search(str(seen)):
            return "torch could not write a file"
        seen = seen.__cause__ or seen.__context__
    return None
