"""The README: where it links to, how soon it says how to install, how wide its code is."""

import re

import pytest

from tests.command_lines import REPOSITORY
from tests.docs.pages import PAGES, TOKENS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", PAGES[page]):
        assert ((REPOSITORY / page).parent / target).exists(), target


def test_install_command_is_on_the_first_screen() -> None:
    lines = PAGES["README.md"].splitlines()
    assert next(n for n, line in enumerate(lines, start=1) if "git clone" in line) <= 60


def test_code_fits_the_width_of_a_code_host() -> None:
    code = [token for token in TOKENS["README.md"] if token.info in ("python", "bash")]
    assert code
    assert max(len(line) for token in code for line in token.content.splitlines()) <= 78
