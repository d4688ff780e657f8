"""How the documentation is built: make docs"""

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

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
napoleon_custom_sections = [("Shape", "returns_style")]
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"zlpr_hf {release}"
html_show_sphinx = False
copybutton_prompt_text = "$ "

REPOSITORY = Path(__file__).resolve().parents[1]
# Pages that include a file of the repository, and folders of it that docs/ has a link to.
PAGES = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
    "SECURITY.md": "security",
}
LINKED = ("notebooks", "results")


def page_of(file: Path) -> str | None:
    """The page of the site that shows a file of the repository."""
    if file.suffix not in (".md", ".ipynb"):
        return None
    if file.parts[0] == "docs":
        return str(file.relative_to("docs").with_suffix(""))
    return str(file.with_suffix("")) if file.parts[0] in LINKED else PAGES.get(str(file))


def lead_to_the_repository(app: Sphinx, doctree: nodes.document) -> None:
    """Resolve links as a reader of the repository does: relative to the file that holds them.

    What is a page of the site becomes a link to it, any other file a download. A folder is neither,
    and ends the build.
    """
    name = app.env.current_document.docname
    home = Path(app.env.doc2path(name)).resolve().parent  # of docs/results: results
    for node in list(doctree.findall(addnodes.pending_xref)):
        target, _, anchor = node["reftarget"].partition("#")
        suffixes = [""]
        if node["refdomain"] == "doc":  # found by the parser, which takes suffix and anchor off
            anchor = node.get("reftargetid") or ""
            suffixes = [".md", ".ipynb"] if target.startswith("/") else []  # else in docs/
        # The text of an included file is relative to the repository.
        places = [home / (target + suffix) for suffix in suffixes]
        places += [REPOSITORY / (target + suffix) for suffix in suffixes]
        path = next((place.resolve() for place in places if place.is_file()), None)
        if node["reftype"] != "myst" or path is None:
            continue
        file = path.relative_to(REPOSITORY)
        page = page_of(file)
        if page:
            node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", page, anchor or None
        else:
            download = addnodes.download_reference(
                "", *node.children, refdoc=name, reftarget=f"/../{file}", classes=node["classes"]
            )
            node.replace_self(download)


def setup(app: Sphinx) -> None:
    """Called by Sphinx; the link is there before downloads are collected."""
    app.connect("doctree-read", lead_to_the_repository, priority=400)
