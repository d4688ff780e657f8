"""The prose of the repository: counts of hard words, and phrases of an earlier voice."""

import subprocess
from collections.abc import Callable

import pytest

from tests.command_lines import REPOSITORY
from tests.docs.words import Limit, Passage, check, check_package, check_pages

FILES = ("*.md", "*.py", "*.yaml", "*.toml", "*.jinja", "*.ipynb", "*.cff", "Makefile")
ALIASES = ("zlpr_hf/workflows/option_words.py", "tests/workflows/test_arguments.py")
"""Files that accept an option under its old name, and test it."""
# Each phrase is in two parts, so that this file does not contain it.
PHRASES = [
    first + second
    for first, second in (
        ("a loss that knows", " when to stop"),
        ("every claim below that", " a test can hold"),
        ("Times here are of", " two cores"),
        ("What each does with", " multi-label texts"),
        ("all that must", " be there"),
        ("the test split that it was", " trained beside"),
        ("What is not read", " is not computed"),
        ("Rankings, whatever", " the boundary"),
        ("a picture of each", " a data set"),
        ("cannot be", " had together"),
        ("stands", " twice"),
        ("not gone", " on from"),
        ("what was", " whole stays"),
        ("is no number", " is to be seen"),
        ("As", " there."),
        ("Like", "wise."),
        ("Of the", " draws."),
        ("How", " many."),
        ("Whether nobody", " else"),
        ("yard", "stick"),
        ("find_", "breakdown"),
        ("find_", "in_run"),
        ("judge_", "best_labels"),
        ("boundary", "_of("),
        ("to_go", "_on("),
        ("MOST", "_"),
        ("LONGEST", "_"),
        ("LARGEST", "_"),
        ("LEAST", "_"),
    )
]


@pytest.mark.parametrize("count", [check_pages, check_package])
def test_prose_keeps_within_the_limits(count: Callable[[], list[str]]) -> None:
    lines = count()
    assert not [line for line in lines if "FAIL" in line], "\n".join(lines)


def test_count_names_each_place() -> None:
    passages = [Passage(REPOSITORY / "a.md", 3, "What is what, per label?")]
    lines = check("page", passages, (Limit("what", "what", most=15), Limit("per", "per", least=4)))
    assert lines[0] == "page: 5 words"
    assert lines[1].endswith("FAIL what: 4000.0 (at most 15)")
    assert lines[2:4] == ["       a.md:3: What is what, per label?"] * 2
    assert lines[4].endswith("ok   per: 2000.0 (at least 4)")


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrase_is_gone(phrase: str) -> None:
    command = ["git", "grep", "-In", "--untracked", "-F", phrase, "--", *FILES]
    found = subprocess.run(
        [*command, *(f":!{path}" for path in ALIASES)],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout == ""
