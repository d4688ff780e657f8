"""Call a model in its own precision, without the autocast that training put around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_COUNT = "_zlpr_calls_without_autocast"
_WRAPPED = "_zlpr_wrapped_forward"
_lock = Lock()


@contextmanager
def without_autocast(model: Any) -> Iterator[None]:
    """Call the model without the autocast wrapper that accelerate puts around ``forward``.

    Several threads may do so at a time; the last one to leave puts the wrapper back.
    """
    attributes: dict[str, Any] = getattr(model, "__dict__", {})
    if "forward" not in attributes or attributes.get("_original_forward") is None:
        yield
        return
    with _lock:
        attributes[_COUNT] = attributes.get(_COUNT, 0) + 1
        if attributes[_COUNT] == 1:
            attributes[_WRAPPED] = attributes["forward"]
            attributes["forward"] = attributes["_original_forward"]
    try:
        yield
    finally:
        with _lock:
            attributes[_COUNT] -= 1
            if attributes[_COUNT] == 0:
                attributes["forward"] = attributes.pop(_WRAPPED)
