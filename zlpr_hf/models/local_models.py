"""Folders of models on this machine; light to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zlpr_hf.errors import InputError, suggest
from zlpr_hf.files.packages import PACKAGE_PREFIX

OUTPUT_FOLDER = "out"
"""Where ``zlpr train`` writes by default."""
MODELS_SHOWN = 6


def check_local_model(name: str) -> None:
    """Refuse the name of a model that is a path on this machine without a folder.

    A name with one slash may be an id on the Hub, unless its first part is a local folder.

    Raises:
        InputError: With the folders of models that there are.
    """
    path = Path(name).expanduser()
    if path.is_dir() or name.startswith(PACKAGE_PREFIX):
        return
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or path.is_file()
    parent, default = path.parent, Path(OUTPUT_FOLDER) / name
    is_near = ("/" in name and parent.is_dir()) or _holds_model(default)
    if is_path or (is_near and not _is_cached(name)):
        what = "is a file, not the folder of a model" if path.is_file() else "no such folder"
        raise InputError(f"{name}: {what}{list_local_models(name)}")


def list_local_models(name: str = "") -> str:
    """Return the end of a message: the folders of models here, and the one closest to a name."""
    folders = {Path(), Path(OUTPUT_FOLDER)} | ({Path(name).parent} if name else set())
    found = sorted({str(path) for folder in folders for path in _models_in(folder)})
    if not found:
        return ""
    more = ", ..." if len(found) > MODELS_SHOWN else ""
    same = [path for path in found if Path(path).name == name]
    hint = f'. Did you mean "{same[0]}"?' if same else suggest(name, found)
    verb = "is" if len(found) == 1 else "are"
    return f"; there {verb} {', '.join(found[:MODELS_SHOWN])}{more}{hint}"


def _models_in(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from filter(_holds_model, folder.iterdir())


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _is_cached(name: str) -> bool:
    """Whether the Hub's cache on this machine has a model."""
    from huggingface_hub import try_to_load_from_cache  # takes a moment to load
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False
