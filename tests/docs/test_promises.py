"""Each promise names a test that there is."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = ("docs/reliability.md", "SECURITY.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_are_named_exist(page: str) -> None:
    rows = [
        line
        for line in (REPOSITORY / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and "test_" in line
    ]
    assert len(rows) > 5
    path = None  # a name without a file is of the file that was named last
    for row in rows:
        for file, name in re.findall(r"`([\w/]*\.py)?(?:::(\w+))?`", row):
            if not file and not name:
                continue
            if file:
                path = REPOSITORY / "tests" / file.removeprefix("tests/")
                assert path.is_file(), row
            assert path is not None, row
            if name:
                assert f"def {name}(" in path.read_text(encoding="utf-8"), (path.name, name)
