"""The generated blocks of README.md and docs/*.md, and the tables of stored comparisons."""

from pathlib import Path

import pytest

from benchmarks.quality_tables import FILES, read_runs
from benchmarks.tables import BLOCKS, REPOSITORY, render_all, render_page

PAGES = render_all()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_generated_blocks_are_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page], "run: python -m benchmarks.tables"


def test_stored_runs_are_complete_and_name_no_local_folder() -> None:
    runs = {name: read_runs(name) for name in FILES}
    assert {name: len(each) for name, each in runs.items()} == {
        "ATT&CK": 3, "CWE": 1, "Reuters-90": 1, "GoEmotions": 1,
    }  # fmt: skip
    assert all(run["output_dir"].startswith("out/") for each in runs.values() for run in each)


def test_results_table_shows_means_over_seeds() -> None:
    row = next(line for line in BLOCKS["results"]().splitlines() if "CWE" in line)
    values = [run["test"]["TF-IDF + linear SVM"]["f1_micro"] for run in read_runs("CWE")]
    assert f"{sum(values) / len(values):.3f}" in row


@pytest.mark.parametrize(
    "page",
    [
        "<!-- generated: nonsense -->\n<!-- end -->\n",
        "<!-- generated: loss -->\n",
        "<!-- generated: loss -->\n<!-- generated: startup -->\n<!-- end -->\n",
    ],
)
def test_wrong_marker_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="generated block"):
        render_page(page)


def test_blocks_keep_the_text_around_them() -> None:
    page = render_page("before\n<!-- generated: loss_time -->\nold\n<!-- end -->\nafter\n")
    assert page.startswith("before\n<!-- generated: loss_time -->\n")
    assert page.endswith("\n<!-- end -->\nafter\n")
    assert "old" not in page
    assert render_page(page) == page
