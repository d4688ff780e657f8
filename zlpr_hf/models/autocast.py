"""Call a model in its own precision, without the autocast that training put around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_autocast(model: Any) -> Iterator[None]:
    """Call the model without the autocast wrapper that accelerate puts around ``forward``."""
    wrapped = getattr(model, "__dict__", {}).get("forward")
    original = getattr(model, "__dict__", {}).get("_original_forward")
    replaced = wrapped is not None and original is not None
    if replaced:
        model.forward = original
    try:
        yield
    finally:
        if replaced:
            model.forward = wrapped
