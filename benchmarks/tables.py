"""Write the generated tables of README.md and docs/*.md from the files in results.

A page holds `<!-- generated: NAME -->` and `<!-- end -->` on lines of their own; everything between
them is written by this script.

Run: python -m benchmarks.tables
"""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    audit,
    bench_tables,
    calibration,
    certificates,
    curve_tables,
    few_tables,
    guarantee,
    loss_cost,
    model_table,
    quality_tables,
    serving,
    speed_tables,
    start,
    suggest,
)
from zlpr_hf.workflows.comparison.results import Comparison
from zlpr_hf.workflows.comparison.table import TABLE_FILE, render_comparison

REPOSITORY = Path(__file__).parents[1]
COMPARISONS = REPOSITORY / "results" / "compare"
BLOCKS: dict[str, Callable[[], str]] = (
    speed_tables.BLOCKS
    | quality_tables.BLOCKS
    | model_table.BLOCKS
    | calibration.BLOCKS
    | audit.BLOCKS
    | few_tables.BLOCKS
    | guarantee.BLOCKS
    | bench_tables.BLOCKS
    | start.BLOCKS
    | suggest.BLOCKS
    | loss_cost.BLOCKS
    | serving.BLOCKS
    | certificates.BLOCKS
    | curve_tables.BLOCKS
)
START = r"<!-- generated: (\S+) -->\n"
BLOCK = re.compile(rf"{START}(.*?)<!-- end -->", re.DOTALL)


def find_pages() -> list[Path]:
    """Return the pages that may hold generated blocks."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def render_page(text: str) -> str:
    """Return a page with its generated blocks as the files in results have them.

    Raises:
        ValueError: If a block has an unknown name or no end.
    """

    def render(match: re.Match[str]) -> str:
        name, content = match.groups()
        if name not in BLOCKS or re.search(START, content):
            raise ValueError(
                f"generated block {name!r}: expected one of {', '.join(BLOCKS)}, and "
                "<!-- end --> after it"
            )
        return f"<!-- generated: {name} -->\n{BLOCKS[name]()}\n<!-- end -->"

    rendered = BLOCK.sub(render, text)
    if len(re.findall(START, text)) != len(BLOCK.findall(text)):
        raise ValueError("a generated block has no <!-- end -->")
    return rendered


def render_all() -> dict[Path, str]:
    """Return every page with generated content, and every table of a stored comparison."""
    texts = {path: path.read_text(encoding="utf-8") for path in find_pages()}
    pages = {path: render_page(text) for path, text in texts.items() if re.search(START, text)}
    for path in sorted(COMPARISONS.glob("*/comparison.json")):
        comparison = Comparison.load(path)
        pages[path.with_name(TABLE_FILE)] = render_comparison(
            comparison, threshold_metric="f1_micro"
        )
    return pages


def main() -> None:
    for path, text in render_all().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
