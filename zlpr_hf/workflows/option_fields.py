"""Fields of arguments: options with a default and a help text."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any


def option(default: Any, help: str) -> Any:
    """Return a field of arguments with its default and its help."""
    return field(default=default, metadata={"help": help})


def default_of(spec: dataclasses.Field[Any]) -> Any:
    """Return the default of a field, of an enumeration its value."""
    if spec.default_factory is dataclasses.MISSING:
        return getattr(spec.default, "value", spec.default)
    return spec.default_factory()
