"""Errors of transformers while loading a model, in one line with a remedy."""

from __future__ import annotations

from pathlib import Path

from zlpr_hf.errors import InputError
from zlpr_hf.models.paths import resolve_model_path


def loading_error(name: str, error: Exception) -> InputError:
    """Return an error that names the model and says why it could not be loaded."""
    where = "" if Path(resolve_model_path(name)).is_dir() else " is not a local folder and"
    return InputError(f"model {name!r}{where} could not be loaded: {explain_loading_error(error)}")


def explain_loading_error(error: Exception) -> str:
    """Return one line on why transformers did not load a model, and how to go on."""
    text = str(error).strip()
    reason = text.splitlines()[0].strip() if text else type(error).__name__
    if isinstance(error, ImportError):
        return reason.partition(". ")[0]
    if "trust_remote_code" in text:
        return f"{reason} Read this code first, then run it with trust_remote_code"
    if "safetensors" in text:
        return (
            f"{reason} (weights are read from safetensors only: a pickle such as "
            "pytorch_model.bin can run code)"
        )
    return reason
