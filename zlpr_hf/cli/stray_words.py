"""Words of ``zlpr train`` that belong to no option, found without loading torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zlpr_hf.choices import FALSE_WORDS
from zlpr_hf.data.columns import SEVERAL_NAMES
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.option_words import current_name, option_types

BOOL_WORDS = {*FALSE_WORDS, "true", "yes", "y", "t", "on", "1"}
BOOLS = ("bool", "bool | None")


def move_data_first(argv: list[str]) -> list[str]:
    """Return a command line with FILE, RECIPE or CONFIG in the first place.

    Raises:
        InputError: If a word belongs to no option, and is not the only one without an option.

    Example:
        >>> move_data_first(["--seed", "1", "reviews.csv"])
        ['reviews.csv', '--seed', '1']
    """
    start = 1 if argv and not argv[0].startswith("-") else 0
    stray = list(_find_stray(argv, start))
    if not stray:
        return argv
    place, option = stray[0]
    name = current_name(option)
    if start or len(stray) > 1 or name in SEVERAL_NAMES:
        hint = SEVERAL_NAMES.get(name, "")
        where = "; FILE is the first word" if start == 0 and not hint else ""
        raise InputError(
            f"{option}: expected one value, got {argv[place]!r} after it{hint}{where}"
            if option
            else f"expected one FILE, got {argv[place]!r} after {argv[0]!r}"
        )
    return [argv[place], *argv[:place], *argv[place + 1 :]]


def _find_stray(argv: Sequence[str], start: int) -> Iterator[tuple[int, str]]:
    """Yield the place of each stray word, and the option before it."""
    types = option_types()
    option, left = "", 0.0  # values that the option still takes
    for place, word in enumerate(argv[start:], start=start):
        if word.startswith("--") and len(word) > 2:
            option, equals, _ = word.removeprefix("--").partition("=")
            left = 0 if equals else _count_values(option, types)
        elif left and not (left == 0.5 and word.lower() not in BOOL_WORDS):
            left = max(0, left - 1)
        elif not word.startswith("-"):
            yield place, option


def _count_values(option: str, types: dict[str, str]) -> float:
    """Return the number of values that an option takes; one half for a bool, which may have one."""
    name = current_name(option)
    kind = types.get(name)
    if kind is None:
        return 0 if name.removeprefix("no_") in types else float("inf")
    if kind in BOOLS:
        return 0.5
    return float("inf") if any(word in kind for word in ("list", "bool")) else 1
