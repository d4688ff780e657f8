"""Paths as they may be shown to others."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath


def shorten_path(name: str) -> str:
    """Cut a path of this machine to its last part, so that nobody reads how it is laid out.

    Args:
        name: A name or a path.

    Returns:
        The name as it is where it says nothing of this machine.

    Example:
        >>> shorten_path("/home/me/models/reviews"), shorten_path("out/reviews")
        ('reviews', 'out/reviews')
    """
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or name.startswith("~"):
            return path.name
    return name
