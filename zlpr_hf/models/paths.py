"""The way to the Hub: said at once where there is none, and not after half a minute of trying."""

from __future__ import annotations

from huggingface_hub import constants, get_session, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
)

from zlpr_hf.errors import InputError

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for an answer of any kind."""


def check_hub(name: str, revision: str | None = None) -> None:
    """Refuse a model that only the Hub can have, where there is no way to the Hub.

    Args:
        name: What is no folder here.
        revision: Branch, tag or commit.

    Raises:
        InputError: If the model was not fetched before and cannot be fetched now.
    """
    try:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return
    except HFValidationError:  # no name of the Hub; whoever loads it says so
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=CONNECT_TIMEOUT)
    except (HTTPError, OSError) as error:
        reason = f"no connection to the Hub ({error})"
        if isinstance(error, OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE keeps it from being fetched"
        raise InputError(
            f"model {name!r} is no folder here, was not fetched before, and {reason}; expected a "
            "folder, or package:MODULE/FOLDER for weights in a Python package"
        ) from error
