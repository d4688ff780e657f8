"""Names of data files on the command line: files, texts, and names that are misspelt."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from zlpr_hf.data.row_reader import SPREADSHEETS, SUFFIXES, TEXT_SUFFIXES
from zlpr_hf.data.text_streams import COMPRESSED
from zlpr_hf.errors import InputError

DATA_SUFFIXES = (*SUFFIXES, *TEXT_SUFFIXES, *SPREADSHEETS, *COMPRESSED, ".zip")
ANY_SUFFIX = re.compile(r"\w\.[A-Za-z]\w{1,6}$")


def has_data_suffix(name: str) -> bool:
    """Whether a name ends in the suffix of a data file."""
    return Path(name).suffix.lower() in DATA_SUFFIXES


def near_files(name: str) -> str:
    """Return the end of a message: the data file whose name is closest to a missing one."""
    folder = Path(name).parent
    if not folder.is_dir():
        return f"; there is no folder {folder}"
    names = {
        stem_of(path.name): path.name for path in folder.iterdir() if has_data_suffix(path.name)
    }
    near = difflib.get_close_matches(stem_of(name), names, n=1)
    return f'. Did you mean "{folder / names[near[0]]}"?' if near else ""


def stem_of(name: str) -> str:
    """Return the name of a file without its suffixes, or the last part of a dataset's name.

    Example:
        >>> stem_of("data/reviews.csv.gz"), stem_of("owner/emotions")
        ('reviews', 'emotions')
    """
    path = Path(name)
    while path.suffix.lower() in DATA_SUFFIXES:
        path = path.with_suffix("")
    return path.name or "run"


def split_texts(words: list[str]) -> tuple[list[str], str | None]:
    """Return the texts among the words of a command line, or the file that they name.

    Raises:
        InputError: If a word looks like a path without a file, there are several files, or texts
            beside a file.

    Example:
        >>> split_texts(["good value", "too late"])
        (['good value', 'too late'], None)
    """
    files = [word for word in words if os.path.isfile(word)]  # accepts words of any length
    for word in words:
        if word not in files and _looks_like_path(word):
            raise InputError(
                f"{word}: no such file{near_files(word)} (to label it as a text, give it on "
                "standard input)"
            )
    if not files:
        return words, None
    if len(words) > 1:
        raise InputError(f"expected one file or several texts, got {files[0]} and others")
    (file,) = files
    if not has_data_suffix(file):
        raise InputError(f"{file}: a file of unknown type; give it as --input with --input_format")
    return [], file


def _looks_like_path(word: str) -> bool:
    """Whether a word is rather the name of a file than a text."""
    if has_data_suffix(word):
        return True
    is_one_word = len(word.split()) == 1
    return is_one_word and bool("/" in word or "\\" in word or ANY_SUFFIX.search(word))
