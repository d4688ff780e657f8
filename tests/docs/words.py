"""Count words that make text hard to read, in pages and in docstrings.

Run: python -m tests.docs.words          # counts, and file and line of each hit
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PER = 10_000
"""Counts are per so many words."""


@dataclass(frozen=True)
class Passage:
    """Prose of one line: of a page, a docstring or a comment."""

    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Limit:
    """How often a pattern may, or must, occur in 10,000 words."""

    name: str
    pattern: str
    most: float = float("inf")
    least: float = 0.0

    def find(self, passages: list[Passage]) -> list[Passage]:
        """Return one passage per occurrence."""
        pattern = re.compile(rf"\b(?:{self.pattern})\b", re.IGNORECASE)
        return [passage for passage in passages for _ in pattern.findall(passage.text)]


PAGE_LIMITS = (
    Limit("what", "what", most=15),
    Limit("whoever/whatever/nobody/somebody", "whoever|whatever|nobody|somebody", most=2),
    Limit("per", "per", least=4),
    Limit("you/your", "you|your|yours|yourself", least=80),
)
CODE_LIMITS = (
    Limit("what", "what", most=12),
    Limit("as there/likewise", "as there|likewise", most=0),
)


def read_pages() -> list[Passage]:
    """Return the prose of README and documentation, without code blocks and generated tables."""
    files = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    return [passage for path in sorted(files) for passage in _read_page(path)]


def _read_page(path: Path) -> Iterator[Passage]:
    skipped = ""  # the line that ends the block
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if skipped:
            skipped = "" if line.startswith(skipped) else skipped
        elif line.startswith("```"):
            skipped = "```"
        elif line.startswith("<!-- generated:"):
            skipped = "<!-- end -->"
        else:
            prose = re.sub(r"`[^`]*`|\]\([^)]*\)|\$[^$]*\$", " ", line)
            yield Passage(path, number, prose)


def read_package() -> list[Passage]:
    """Return the docstrings and comments of the package, without examples."""
    files = sorted((REPOSITORY / "zlpr_hf").rglob("*.py"))
    return [passage for path in files for passage in _read_module(path)]


def _read_module(path: Path) -> Iterator[Passage]:
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            for offset, line in enumerate(node.value.value.splitlines()):
                if not line.strip().startswith((">>>", "...")):
                    yield Passage(path, node.lineno + offset, re.sub(r"`[^`]*`", " ", line))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(path, token.start[0], token.string)


def count_words(passages: list[Passage]) -> int:
    return sum(len(re.findall(r"\w[\w'-]*", passage.text)) for passage in passages)


def check(title: str, passages: list[Passage], limits: tuple[Limit, ...]) -> list[str]:
    """Return a line per count, and under a count that is too high the places."""
    words = count_words(passages)
    lines = [f"{title}: {words:,} words"]
    for limit in limits:
        hits = limit.find(passages)
        rate = len(hits) * PER / words
        wanted = f"at least {limit.least:g}" if limit.least else f"at most {limit.most:g}"
        is_met = limit.least <= rate <= limit.most
        lines.append(f"  {'ok  ' if is_met else 'FAIL'} {limit.name}: {rate:.1f} ({wanted})")
        if not is_met and rate > limit.most:
            lines += [
                f"       {hit.path.relative_to(REPOSITORY)}:{hit.line}: {hit.text.strip()}"
                for hit in hits
            ]
    return lines


def check_pages() -> list[str]:
    return check("README and documentation", read_pages(), PAGE_LIMITS)


def check_package() -> list[str]:
    return check("docstrings and comments", read_package(), CODE_LIMITS)


def main() -> int:
    lines = [f"Counts per {PER:,} words", *check_pages(), *check_package()]
    print("\n".join(lines))
    return int(any("FAIL" in line.split() for line in lines))


if __name__ == "__main__":
    sys.exit(main())
