"""The tests that docs/reliability.md and SECURITY.md name exist."""

import re
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from tests.docs.pages import PAGES


@pytest.mark.parametrize("page", ["docs/reliability.md", "SECURITY.md"])
def test_named_tests_exist(page: str) -> None:
    rows = [line for line in PAGES[page].splitlines() if line.startswith("|") and "test_" in line]
    assert len(rows) > 5
    path: Path | None = None  # a name without a file belongs to the file named last
    for row in rows:
        for file, name in re.findall(r"`([\w/]*\.py)?(?:::(\w+))?`", row):
            if file:
                path = REPOSITORY / "tests" / file.removeprefix("tests/")
                assert path.is_file(), row
            if name:
                assert path is not None, row
                assert f"def {name}(" in path.read_text(encoding="utf-8"), (path.name, name)
