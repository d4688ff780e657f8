"""README and documentation as parsed Markdown."""

from __future__ import annotations

from typing import NamedTuple

from markdown_it import MarkdownIt

from tests.command_lines import REPOSITORY

PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for path in [
        *sorted(REPOSITORY.glob("*.md")),
        *sorted((REPOSITORY / "docs").rglob("*.md")),
        REPOSITORY / "results" / "README.md",
    ]
}
TOKENS = {page: MarkdownIt("commonmark").parse(text) for page, text in PAGES.items()}


class Snippet(NamedTuple):
    """A block of Python and the output that the page shows below it, if any."""

    code: str
    output: str | None


def blocks(page: str, language: str) -> list[str]:
    return [token.content for token in TOKENS[page] if token.info.strip() == language]


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if blocks(page, language)]


def snippets(page: str) -> list[Snippet]:
    """Return the Python blocks of a page; a ``text`` block right after one is its output."""
    found = []
    tokens = TOKENS[page]
    for index, token in enumerate(tokens):
        if token.info.strip() == "python":
            after = tokens[index + 1] if index + 1 < len(tokens) else None
            shown = after is not None and after.info.strip() == "text"
            found.append(Snippet(token.content, after.content if after and shown else None))
    return found
