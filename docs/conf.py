"""The documentation as a site: make docs"""

from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
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
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Notebooks are shown as they were saved; the tests execute them.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # scripts of another host, for widgets
html_math_renderer = "mathml"

autosummary_generate = False
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
html_static_path = ["_static"]
html_css_files = ["custom.css"]
copybutton_prompt_text = "$ "

REPOSITORY = Path(__file__).resolve().parents[1]
# Files of the repository that a page of another name includes, and folders that docs/ links to.
PAGES = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
    "SECURITY.md": "security",
}
LINKED = ("notebooks", "results")


def page_of(file: Path) -> str | None:
    """Return the page of the site that shows a file of the repository."""
    if file.suffix not in (".md", ".ipynb"):
        return None
    if file.parts[0] == "docs":
        return str(file.relative_to("docs").with_suffix(""))
    return str(file.with_suffix("")) if file.parts[0] in LINKED else PAGES.get(str(file))


def resolve_repository_links(app: Sphinx, doctree: nodes.document) -> None:
    """Resolve links relative to the file that holds them, as readers of the repository do.

    A page of the site becomes a link to it, any other file a download. A folder is neither and
    fails the build.
    """
    name = app.env.current_document.docname
    home = Path(app.env.doc2path(name)).resolve().parent  # of docs/results: results
    for node in list(doctree.findall(addnodes.pending_xref)):
        target, _, anchor = node["reftarget"].partition("#")
        suffixes = [""]
        if node["refdomain"] == "doc":  # the parser found the page and removed suffix and anchor
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
            node.replace_self(_download(file, name, *node.children))


def offer_notebook(app: Sphinx, doctree: nodes.document) -> None:
    """Put a download link below the title of a notebook."""
    name = app.env.current_document.docname
    if name.startswith("notebooks/"):
        title = next(doctree.findall(nodes.title))
        link = _download(Path(f"{name}.ipynb"), name, nodes.Text("Download this notebook"))
        title.parent.insert(title.parent.index(title) + 1, nodes.paragraph("", "", link))


def _download(file: Path, page: str, *children: nodes.Node) -> addnodes.download_reference:
    return addnodes.download_reference("", "", *children, refdoc=page, reftarget=f"/../{file}")


def leave_out_of_search(app: Sphinx, _: nodes.document) -> None:
    """Keep the long tables of the loss bench from crowding out the pages that explain."""
    if app.env.docname.startswith("results/bench/"):
        app.env.metadata[app.env.docname]["no-search"] = True


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write a formula of a sentence as MathML."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula as MathML."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the formulas and links of this site; called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    # Before downloads are collected.
    app.connect("doctree-read", resolve_repository_links, priority=400)
    app.connect("doctree-read", offer_notebook, priority=400)
    app.connect("doctree-read", leave_out_of_search, priority=900)
