"""Texts on which another form of a model is checked: a file, or the test split of its training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zlpr_hf.cli.parser import file_options
from zlpr_hf.cli.remembered import columns_of, read_remembered, use_remembered
from zlpr_hf.errors import InputError

if TYPE_CHECKING:
    from zlpr_hf.inference.windows import Texts


def read_check_texts(
    options: argparse.Namespace, path: Path | None, given: set[str], *, option: str
) -> tuple[Texts, str]:
    """Return texts and their name; without a file, those of the model's own test split.

    Args:
        options: The options of a command, with ``model`` and those of files; changed.
        path: The file; None for the test split.
        given: The options that the command line sets.
        option: The option or argument that names the file, for messages.

    Raises:
        InputError: If the file has no texts, or the data of the training is not there.
    """
    from zlpr_hf.data.columns import read_texts, warn_of_empty_texts
    from zlpr_hf.data.sources import read_file
    from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments

    if path is None:
        otherwise = f"give texts with {option}"
        arguments = read_data_arguments(options.model, otherwise=otherwise)
        try:
            data = load_own_data(options.model, arguments)
            split = data.split_of("test")
            return data.texts("test"), f"the {split} split"
        except InputError as error:
            raise InputError(f"{options.model}: {error}; {otherwise}") from error
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a file of UTF-8 text ({option})") from error
        return [(line,) for line in lines if line.strip()], path.name
    remembered = read_remembered(options.model, options.revision)
    rows = read_file(path, file_options(options, columns_of(options, remembered)))
    use_remembered(options, remembered, given=given, columns=rows.column_names, origin=str(path))
    names = [name for name in (options.text_column, options.text_pair_column) if name]
    columns = [read_texts(rows, name, str(path)) for name in names]
    for name, texts in zip(names, columns, strict=True):
        warn_of_empty_texts(dict(enumerate(texts, start=1)), name, str(path))
    return list(zip(*columns, strict=True)), path.name
