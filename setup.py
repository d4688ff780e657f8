"""Carry configs/ in the wheel as zlpr_hf/recipes; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies the recipes beside the modules; an editable install reads them from configs/."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            recipes = Path(self.build_lib) / "zlpr_hf" / "recipes"
            shutil.rmtree(recipes, ignore_errors=True)
            shutil.copytree("configs", recipes)


setup(cmdclass={"build_py": BuildWithRecipes})
