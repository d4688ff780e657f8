"""Carry the recipes in the wheel and absolute links in its readme; see pyproject.toml."""

import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies configs/ to zlpr_hf/recipes; an editable install reads configs/ itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            recipes = Path(self.build_lib) / "zlpr_hf" / "recipes"
            shutil.rmtree(recipes, ignore_errors=True)
            shutil.copytree("configs", recipes)


def read_readme() -> str:
    """Return README.md with links to the repository, whose other files an index does not have."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = project["urls"]["Repository"]
    return re.sub(
        r"(!?)(\[[^]]*\]\()(?!https?:|#)",
        lambda found: f"{found[0]}{url}/{'raw' if found[1] else 'blob'}/main/",
        Path("README.md").read_text(encoding="utf-8"),
    )


setup(
    cmdclass={"build_py": BuildWithRecipes},
    long_description=read_readme(),
    long_description_content_type="text/markdown",
)
