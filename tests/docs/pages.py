"""README and documentation as parsed Markdown."""

from __future__ import annotations

from markdown_it import MarkdownIt

from tests.command_lines import REPOSITORY

PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for path in [
        *sorted(REPOSITORY.glob("*.md")),
        *sorted((REPOSITORY / "docs").glob("*.md")),
        REPOSITORY / "results" / "README.md",
    ]
}
TOKENS = {page: MarkdownIt("commonmark").parse(text) for page, text in PAGES.items()}


def blocks(page: str, language: str) -> list[str]:
    return [token.content for token in TOKENS[page] if token.info.strip() == language]
