"""Names of columns: whether one is there, and what may be meant where it is not."""

from __future__ import annotations

from collections.abc import Collection

from zlpr_hf.errors import InputError

SEPARATORS = ";\t|,"


def check_column(name: str, names: Collection[str], *, origin: str, of: str, option: str) -> None:
    """Refuse the name of a column that is not there.

    Args:
        name: What was asked for.
        names: Those there are.
        origin: What to call the rows in the message.
        of: What the column holds, for the message.
        option: The options that say it.

    Raises:
        InputError: With the names there are, and what may be meant.

    Example:
        >>> check_column("a", ["A"], origin="x.csv", of="the text", option="text_column")
        Traceback (most recent call last):
        zlpr_hf.errors.InputError: x.csv: no column 'a' for the text; there are A (see text_column);
        did you mean 'A'?
    """
    if name in names:
        return
    raise InputError(
        f"{origin}: no column {name!r} for {of}; there are {', '.join(names)} (see {option})"
        + _what_is_meant(name, names)
    )


def _what_is_meant(name: str, names: Collection[str]) -> str:
    for each in names:
        if each.strip().lower() == name.strip().lower():
            return f"; did you mean {each!r}?"
    if "," in name and all(part.strip() in names for part in name.split(",")):
        return "; several names are separated by spaces"
    return separator_hint(names) if len(names) == 1 else ""


def separator_hint(header: Collection[str]) -> str:
    """What a header of one column may hold in truth.

    Args:
        header: Names of columns as they were read.

    Returns:
        The end of a message; empty where nothing is to be said.

    Example:
        >>> separator_hint(["text;labels"])
        "; are its columns separated by ';'? expected commas in .csv, tabs in .tsv"
    """
    found = [sign for sign in SEPARATORS if len(header) == 1 and sign in next(iter(header))]
    if not found:
        return ""
    return f"; are its columns separated by {found[0]!r}? expected commas in .csv, tabs in .tsv"
