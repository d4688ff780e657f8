"""The documentation builds without warnings, links lead somewhere, search finds the right page."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import zlpr_hf
from tests.command_lines import REPOSITORY

NEEDED = ("sphinx", "furo", "latex2mathml", "myst_nb", "sphinx_copybutton")
SEARCHES = {
    "install": "install",
    "imbalanced": "how_to/imbalanced",
    "threshold": "how_to/threshold",
    "early stopping": "how_to/early_stopping",
    "tensorboard": "how_to/tracking",
    "mislabelled": "how_to/mislabelled",
    "pandas": "how_to/pandas",
    "scikit-learn": "how_to/scikit_learn",
    "mlflow": "how_to/tracking",
    "few labels": "how_to/few_labels",
}
"""Queries, and the page that must come first."""
MISSING = [name for name in NEEDED if find_spec(name) is None]


class Page(HTMLParser):
    """The links of a page, its anchors, and the addresses that a browser requests by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.requests: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        addresses = [given[name] for name in ("href", "src") if name in given]
        self.links += addresses
        if tag != "a":
            self.requests += addresses


def find_broken(folder: Path) -> list[str]:
    """Return the links within a site that lead nowhere, with their page."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = pages.get(target)
            if not target.is_file() or (there and unquote(parts.fragment) not in there.anchors):
                broken.append(f"{path.name}: {link}")
    return broken


def test_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "<p id='here'></p><a href='#here'></a><a href='b.html#there'></a><a href='b.html'></a>"
        "<a href='#nowhere'></a><img src='c.png'><a href='https://example.org/x'></a>"
    )
    (tmp_path / "b.html").write_text("<a href='a.html#here'></a>")
    assert find_broken(tmp_path) == ["a.html: b.html#there", "a.html: #nowhere", "a.html: c.png"]


def test_reference_has_every_public_name_once() -> None:
    pages = sorted((REPOSITORY / "docs" / "reference").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    names = re.findall(r"^\.\. (?:autofunction|autoclass|data):: (\w+)$", text, re.MULTILINE)
    assert sorted(names) == sorted(zlpr_hf.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    folder = tmp_path_factory.mktemp("site")
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "read"), "docs", str(folder / "site")],
        cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "site"


@pytest.mark.slow
def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    assert (site / "reference" / "losses.html").is_file()
    assert find_broken(site) == []


@pytest.mark.slow
def test_site_requests_nothing_from_other_hosts(site: Path) -> None:
    outside = [
        f"{path.relative_to(site)}: {url}"
        for path in site.rglob("*.html")
        for url in Page(path.read_text(encoding="utf-8")).requests
        if urlsplit(url).netloc
    ]
    styles = [
        str(path.relative_to(site))
        for path in site.rglob("*.css")
        if re.search(r"(?:@import|url\()[\s'\"]*(?:https?:)?//", path.read_text(encoding="utf-8"))
    ]
    assert (outside, styles) == ([], [])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="the site's search needs node")
def test_search_finds_the_right_page_first(site: Path) -> None:
    command = ["node", str(Path(__file__).with_name("search.js")), str(site), *SEARCHES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = {query: hits[0] for query, hits in zip(SEARCHES, json.loads(done.stdout), strict=True)}
    assert found == SEARCHES
