"""Paths in a form that may be published."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath


def shorten_path(name: str) -> str:
    """Return the last part of an absolute path, which would reveal the layout of this machine.

    Example:
        >>> shorten_path("/home/me/models/reviews"), shorten_path("out/reviews")
        ('reviews', 'out/reviews')
    """
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or name.startswith("~"):
            return path.name
    return name
