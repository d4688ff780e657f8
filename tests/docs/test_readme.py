"""The README: links, picture of zero, place of the install command, width of its code."""

import json
import re

import pytest

from benchmarks import zero
from tests.command_lines import REPOSITORY
from tests.docs.pages import PAGES, TOKENS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", PAGES[page]):
        assert ((REPOSITORY / page).parent / target).exists(), target


def test_install_command_is_on_the_first_screen() -> None:
    lines = PAGES["README.md"].splitlines()
    assert next(n for n, line in enumerate(lines, start=1) if "pip install" in line) <= 60


def test_code_fits_the_width_of_a_code_host() -> None:
    code = [token for token in TOKENS["README.md"] if token.info in ("python", "bash")]
    assert code
    assert max(len(line) for token in code for line in token.content.splitlines()) <= 78


def test_picture_of_zero_shows_the_stored_logits() -> None:
    stored = json.loads((zero.RESULTS / "zero.json").read_text(encoding="utf-8"))
    picture = zero.PICTURE.read_text(encoding="utf-8")
    drawn = zero.render(stored["text"], stored["logits"])
    assert picture == drawn, "run: python -m benchmarks.zero"
    applies = [name for name, logit in stored["logits"].items() if logit > 0]
    assert picture.count("\N{CHECK MARK}") == len(applies) > 0
