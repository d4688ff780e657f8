"""Names of models: folders, ids on the Hub, and weights inside a Python package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
)

from zlpr_hf.errors import InputError
from zlpr_hf.files.packages import PACKAGE_PREFIX, locate_package
from zlpr_hf.models.local_models import check_local_model, list_local_models

CONNECT_TIMEOUT_SECONDS = 10.0


def resolve_model_path(name: str) -> str:
    """Return a Hub id or a folder; ``package:MODULE/FOLDER`` is a folder in an installed package.

    The package is located, not imported.

    Raises:
        InputError: If a path does not exist, or there is no such package or folder in it.
    """
    if name.startswith(PACKAGE_PREFIX):
        return _find_in_package(name)
    check_local_model(name)
    return str(Path(name).expanduser()) if name.startswith("~") else name


def is_local(name: str) -> bool:
    """Whether a model is read from this machine: a folder, or weights in a Python package."""
    return name.startswith(PACKAGE_PREFIX) or Path(name).expanduser().exists()


def _find_in_package(name: str) -> str:
    module, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
    folder = locate_package(module, name) / inside
    if not (folder / "config.json").is_file():
        raise InputError(f"{name}: no model (config.json) in {folder}")
    return str(folder)


def find_model(name: str, revision: str | None = None) -> str:
    """Like `resolve_model_path`; also refuse a Hub id that cannot be downloaded.

    Raises:
        InputError: At once, where the Hub client would retry for half a minute.
    """
    path = resolve_model_path(name)
    if not Path(path).exists():
        check_hub(path, revision)
    return path


def check_hub(name: str, revision: str | None = None) -> None:
    """Refuse a Hub id that is not in the local cache when there is no connection to the Hub.

    Raises:
        InputError: If the model can neither be read from the cache nor downloaded.
    """
    try:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return
    except HFValidationError:  # not a valid Hub id: loading it reports why
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=CONNECT_TIMEOUT_SECONDS)
    except (HTTPError, OSError) as error:
        reason = f"there is no connection to the Hub ({error})"
        if isinstance(error, OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE forbids to download it"
        raise InputError(
            f"model {name!r}: not a local folder, not in the Hub cache, and {reason}; expected a "
            "folder, a Hub id, or package:MODULE/FOLDER for weights in a Python package"
            f"{list_local_models(name)}"
        ) from error


def read_config_file(name: str, revision: str | None = None) -> dict[str, Any]:
    """Return ``config.json`` of a model without loading transformers.

    Empty if it cannot be read: loading the model reports why.

    Raises:
        InputError: If the model does not exist, or cannot be downloaded.
    """
    path = Path(find_model(name, revision))
    try:
        file = path / "config.json"
        if not path.is_dir():
            file = Path(hf_hub_download(str(path), "config.json", revision=revision))
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, HfHubHTTPError, HTTPError):
        return {}
    return values if isinstance(values, dict) else {}


def hub_options(revision: str | None, trust_remote_code: bool) -> dict[str, Any]:
    """Keyword arguments of ``from_pretrained``; explicit, so that it never asks on the terminal."""
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    return options if revision is None else options | {"revision": revision}
