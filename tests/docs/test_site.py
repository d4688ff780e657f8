"""The documentation builds without a warning, and every link in it leads somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import zlpr_hf
from tests.command_lines import REPOSITORY

NEEDED = ("sphinx", "furo", "myst_nb", "sphinx_copybutton")
MISSING = [name for name in NEEDED if find_spec(name) is None]


class Page(HTMLParser):
    """The links of a page, and the places in it that others may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]


def find_broken(folder: Path) -> list[str]:
    """Links within a site that lead nowhere, with the page they are on.

    Args:
        folder: The site.
    """
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


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "<p id='here'></p><a href='#here'></a><a href='b.html#there'></a><a href='b.html'></a>"
        "<a href='#nowhere'></a><img src='c.png'><a href='https://example.org/x'></a>"
    )
    (tmp_path / "b.html").write_text("<a href='a.html#here'></a>")
    assert find_broken(tmp_path) == ["a.html: b.html#there", "a.html: #nowhere", "a.html: c.png"]


def test_the_reference_has_every_public_name_once() -> None:
    page = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. (?:autofunction|autoclass|data):: (\w+)$", page, re.MULTILINE)
    assert sorted(names) == sorted(zlpr_hf.__all__)


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "read"), "docs", str(tmp_path / "site")],
        cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "site" / "reference.html").is_file()
    assert find_broken(tmp_path / "site") == []
