"""Recipes by name: the configurations and comparison plans that the package carries."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zlpr_hf.errors import InputError, suggest

PACKAGE = Path(__file__).parents[1]
FOLDERS = {"train": "", "tune": "", "compare": "compare"}
"""Command to the folder of its recipes."""
FACTS = ("data", "time", "needs")
"""The first lines of a recipe are comments with these names."""
NOTES = """\
needs: quickstart = pip install "zlpr_hf[quickstart]"; Hub = a network; archive = --data_dir
       FOLDER of reuters21578.tar.gz; run = the recipe without _student, trained before"""


def find_recipe(name: str, command: str = "train") -> Path:
    """Return the file of a recipe; an existing file or folder stands for itself.

    Raises:
        InputError: If there is neither, and ``name`` is not the path of another kind of file.
    """
    path, known = Path(name), _recipes_of(command)
    if os.path.exists(name):  # unlike Path.exists it accepts a name of any length
        return path
    if name in known:
        return known[name]
    if path.suffix not in ("", ".yaml", ".yml"):
        return path
    if path.stem in known:
        raise InputError(f"{name}: no such file. To use the recipe: zlpr {command} {path.stem}")
    hint = suggest(path.stem, known)
    raise InputError(
        f"{name}: no such file, folder or recipe{hint} (recipes: {', '.join(known)}; "
        f"zlpr {command} --recipes describes them)"
    )


def is_recipe(name: str) -> bool:
    """Whether ``zlpr train`` has a recipe of that name."""
    return name in _recipes_of("train")


def render_recipes(command: str) -> str:
    """Return one line per recipe of a command, and the folder that holds them."""
    rows = [("recipe", *FACTS)]
    for name, path in _recipes_of(command).items():
        facts = dict(re.findall(r"^# (\w+): (.+)$", path.read_text("utf-8"), re.MULTILINE))
        rows.append((name, *(facts[fact] for fact in FACTS)))
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    lines = [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    folder = recipes_folder() / FOLDERS[command]
    example = f"example: zlpr {command} quickstart" + (" --trials 20" if command == "tune" else "")
    return "\n".join([*lines, "", NOTES, f"files: {folder}", example])


def recipes_folder() -> Path:
    """Return the recipes inside an installed package, or ``configs/`` of a checkout."""
    installed = PACKAGE / "recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def _recipes_of(command: str) -> dict[str, Path]:
    folder = recipes_folder() / FOLDERS[command]
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
