"""Each format in the table of docs/data.md is read by the command that stands beside it."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from tests.data.export_files import EXPECTED, MAKERS, NEW_NAMES, rename_columns
from zlpr_hf.cli.own_file import complete_options
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+) \| `zlpr train (.+?)` \| (?:`(.+)`)? ?\|$", re.MULTILINE)
TABLE = {name: (shlex.split(given), shlex.split(found)) for name, given, found in ROW.findall(PAGE)}
PROGRAM = ("zlpr", "train")


def label_sets(data: LabelledData) -> dict[str, set[str]]:
    names = data.label_space.names
    return {
        row["text"]: {
            names[i]
            for i, value in zip(row["label_ids"], row["label_values"], strict=True)
            if value == 1
        }
        for split in data.splits.values()
        for row in split
    }


def load(words: list[str]) -> LabelledData:
    return load_data(parse_arguments(words).data)


def test_page_and_makers_have_the_same_formats() -> None:
    assert list(TABLE) == list(MAKERS)
    assert len(TABLE) > 30


def test_page_counts_the_formats_without_options() -> None:
    files = {"--labels_file"}
    count = sum(set(re.findall(r"--\w+", " ".join(given))) <= files for given, _ in TABLE.values())
    assert f"{count} of {len(TABLE)} formats need no option" in PAGE
    assert count >= 38


@pytest.mark.parametrize("name", MAKERS)
def test_the_command_reads_the_format(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = MAKERS[name](tmp_path) or EXPECTED
    monkeypatch.chdir(tmp_path)
    given, found = TABLE[name]
    words, _ = complete_options(given, PROGRAM)
    # The page shows exactly the options that were found, beside the folder of the output.
    plain = re.sub(r"(--\w+)=", r"\1 ", " ".join(words)).split()
    assert sorted([*plain[1:], "--output_dir"]) == sorted(
        [*given, *found, "--output_dir", *plain[plain.index("--output_dir") :][:2]]
    )
    data = load(words)
    assert label_sets(data) == expected
    assert all(not set(a) & set(b) for a, b in pairwise(data.texts(s) for s in data.splits))


@pytest.mark.parametrize("name", NEW_NAMES)
def test_the_command_reads_columns_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = MAKERS[name](tmp_path) or EXPECTED
    rename_columns(tmp_path, NEW_NAMES[name])
    monkeypatch.chdir(tmp_path)
    given, _ = TABLE[name]
    assert label_sets(load(complete_options(given, PROGRAM)[0])) == expected


def test_most_formats_are_read_with_other_names() -> None:
    assert len(NEW_NAMES) >= 25
