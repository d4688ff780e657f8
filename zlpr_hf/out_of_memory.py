"""Memory that does not suffice: how the libraries that compute say so."""

from __future__ import annotations

import re

SAID = re.compile(
    "out of memory|can't allocate memory|not enough memory|cannot allocate memory|bad_alloc",
    re.IGNORECASE,
)


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
            isinstance(seen, (RuntimeError, OSError)) and SAID.search(str(seen))
        ):
            lines = str(seen).strip().splitlines()
            return lines[0][:200] if lines else type(seen).__name__
        seen = seen.__cause__ or seen.__context__
    return None
