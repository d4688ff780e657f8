"""Column names: refuse a missing one, and suggest the intended one."""

from __future__ import annotations

from collections.abc import Collection

from zlpr_hf.errors import InputError, suggest

SEPARATORS = ";\t|,"


def check_column(name: str, names: Collection[str], *, origin: str, of: str, option: str) -> None:
    """Refuse a column that does not exist.

    Args:
        name: The column asked for.
        names: The columns of the data.
        origin: Name of the data, for the message.
        of: Content of the column, for the message.
        option: Options that set the column, for the message.

    Raises:
        InputError: With the existing columns and, if one is close, a suggestion.

    Example:
        >>> check_column("a", ["A"], origin="x.csv", of="the text", option="text_column")
        Traceback (most recent call last):
        zlpr_hf.errors.InputError: x.csv: no column 'a' for the text; the columns are A (see
        text_column); did you mean A?
    """
    if name in names:
        return
    if "," in name and all(part.strip() in names for part in name.split(",")):
        hint = "; separate several names by spaces"
    else:
        hint = separator_hint(names) or suggest(name, names)
    raise InputError(
        f"{origin}: no column {name!r} for {of}; the columns are {', '.join(names)} "
        f"(see {option}){hint}"
    )


def separator_hint(header: Collection[str]) -> str:
    """Return the end of a message if a header of one column contains another separator.

    Example:
        >>> separator_hint(["text;labels"])
        "; are its columns separated by ';'? expected commas in .csv, tabs in .tsv"
    """
    found = [sign for sign in SEPARATORS if len(header) == 1 and sign in next(iter(header))]
    if not found:
        return ""
    return f"; are its columns separated by {found[0]!r}? expected commas in .csv, tabs in .tsv"
