"""How the documentation is built: make docs"""

import zlpr_hf

project = "zlpr_hf"
author = "the authors of zlpr_hf"
project_copyright = "the authors of zlpr_hf, Apache 2.0"
version = release = zlpr_hf.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Markdown. Notebooks are shown as they were saved: the tests execute them.
myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

# The reference: signatures with short names, the type of an argument beside its meaning.
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"zlpr_hf {release}"
html_show_sphinx = False
copybutton_prompt_text = "$ "
