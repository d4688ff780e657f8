"""Each format in the table of docs/data.md is read by the command that stands beside it."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from tests.data.export_files import EXPECTED, MAKERS
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| (.+) \| `(zlpr train .+)` \|$", PAGE, re.MULTILINE))


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


def test_page_and_makers_have_the_same_formats() -> None:
    assert list(TABLE) == list(MAKERS)
    assert len(TABLE) > 30


@pytest.mark.parametrize("name", MAKERS)
def test_the_command_reads_the_format(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = MAKERS[name](tmp_path) or EXPECTED
    monkeypatch.chdir(tmp_path)
    data = load_data(parse_arguments(shlex.split(TABLE[name])[2:]).data)
    found = label_sets(data)
    assert found == expected
    assert all(not set(a) & set(b) for a, b in pairwise(data.texts(s) for s in data.splits))
