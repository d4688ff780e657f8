"""Label names that look alike: two spellings are two labels, and rarely intended."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence

logger = logging.getLogger(__name__)


def warn_of_lookalikes(names: Sequence[str], origin: str) -> None:
    """Warn of two spellings of a label, which are two labels and rarely intended."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_skeleton(name), name)
        if other != name:
            logger.warning(
                "%s: %r and %r are two labels; is one of them misspelt?", origin, other, name
            )


LATIN_TWINS = str.maketrans("авсеорхуікмнтгαβεικνορτυχ", "abceopxyikmhtraβeikvoptux")
"""Small Cyrillic and Greek letters to the Latin ones that look the same."""


def _skeleton(name: str) -> str:
    """Return a name without everything that is hard to see: case, blanks, other alphabets."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(LATIN_TWINS)
    return "".join(
        sign for sign in plain if unicodedata.category(sign) not in ("Zs", "Cf", "Cc", "Pc", "Pd")
    )
