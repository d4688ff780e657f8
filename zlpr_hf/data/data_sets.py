"""Data sets of several splits: a local folder, or a repository on the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from datasets import (
    Dataset,
    DatasetBuilder,
    DatasetDict,
    Features,
    IterableDataset,
    get_dataset_config_names,
    load_dataset,
    load_dataset_builder,
)
from datasets.exceptions import DatasetGenerationError
from datasets.packaged_modules.csv.csv import CsvConfig
from datasets.packaged_modules.json.json import JsonConfig
from datasets.packaged_modules.text.text import TextConfig
from huggingface_hub import HfFileSystem, hf_hub_download

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import SUFFIXES
from zlpr_hf.errors import InputError

SPLITS = ("train", "validation", "test")
HUB_SCHEME = "hf://"
OWN_FORMATS = (CsvConfig, JsonConfig, TextConfig)
"""Formats of ``datasets`` whose parsers guess types and missing values: our reader takes them."""
Split = TypeVar("Split")


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, how to read them, and the types that the data set declares."""

    paths: tuple[str, ...]
    options: FileOptions
    features: Features | None
    downloaded: bool


def load_splits(
    name: str,
    config: str | None,
    options: FileOptions | None = None,
    *,
    streaming: bool = False,
) -> dict[str, Dataset | IterableDataset | SplitFiles]:
    """Load the splits train, validation and test of a folder or of a data set on the Hub.

    Text files are returned as :class:`SplitFiles`, so that a file means the same on its own, in a
    folder and on the Hub; other data is read by ``datasets``.

    Args:
        name: A local folder, or an id on the Hub.
        config: Configuration of a data set on the Hub.
        options: How to read files of text cells.
        streaming: Read rows when they are asked for, instead of holding them.

    Raises:
        InputError: If there is no such data set, or it cannot be read.
    """
    folder = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not folder.is_dir():
        raise InputError(f"{name}: no such folder (dataset_name)")
    if folder.is_file():
        raise InputError(f"{name} is a file: give it as train_file")
    if folder.suffix.lower() in SUFFIXES:
        raise InputError(f"{name}: no such file")
    try:
        saved = _load_saved(folder)
        if saved is not None:
            return _known_splits(saved, name)
        # A copy on disk usually holds one configuration, under any name.
        if folder.is_dir() and config not in get_dataset_config_names(str(folder)):
            config = None
        where = str(folder) if folder.is_dir() else name
        builder = load_dataset_builder(where, config)
        files = _find_files(builder, options or FileOptions())
        if files is not None:
            return _known_splits(files, name)
        loaded = load_dataset(where, config, streaming=streaming)
    except (DatasetGenerationError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"data set {name!r} could not be loaded: {reason} "
            f"(built-in corpora: {', '.join(sorted(CORPORA))})"
        ) from error
    return _known_splits(loaded, name)


def _known_splits(loaded: Mapping[Any, Split], name: str) -> dict[str, Split]:
    known = {key: loaded[key] for key in SPLITS if isinstance(loaded, dict) and key in loaded}
    if not known:
        raise InputError(f"data set {name!r} has no split called {', '.join(SPLITS)}")
    return known


def _load_saved(folder: Path) -> dict[str, Dataset] | None:
    """Return the splits of a folder that ``save_to_disk`` wrote; a single Dataset is ``train``."""
    if (folder / "dataset_dict.json").is_file():
        return dict(DatasetDict.load_from_disk(folder))
    if (folder / "state.json").is_file():
        return {"train": Dataset.load_from_disk(folder)}
    return None


def _find_files(builder: DatasetBuilder, options: FileOptions) -> dict[str, SplitFiles] | None:
    """Return the text files of each split, or None if ``datasets`` has to read the data."""
    config: Any = builder.config
    if not isinstance(config, OWN_FORMATS) or not config.data_files:
        return None
    names = getattr(config, "names", None)
    if names and not options.column_names:
        options = replace(options, column_names=tuple(names))
    found: dict[str, SplitFiles] = {}
    for split, urls in config.data_files.items():
        if any("://" in url and not url.startswith(HUB_SCHEME) for url in urls):
            return None
        paths, downloaded = tuple(map(_local_path, urls)), urls[0].startswith(HUB_SCHEME)
        found[str(split)] = SplitFiles(paths, options, builder.info.features, downloaded)
    return found


def _local_path(url: str) -> str:
    """Return the path of a file, downloaded under its own name if it is on the Hub."""
    if not url.startswith(HUB_SCHEME):
        return url
    place: Any = HfFileSystem().resolve_path(url)
    return hf_hub_download(
        place.repo_id, place.path_in_repo, repo_type="dataset", revision=place.revision
    )
