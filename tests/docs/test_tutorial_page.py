"""The file that docs/tutorial.md makes is the one of the stored run."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command_lines import REPOSITORY
from tests.docs.pages import blocks


def kept(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPOSITORY / "results" / name).read_text("utf-8"))
    return content


def test_the_file_is_the_one_that_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(blocks("docs/tutorial.md", "python")[0], {})
    with open("reviews.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    splits = kept("tutorial.json")["profile"]["splits"].values()
    assert len(rows) == sum(split["rows"] for split in splits)
    counts = sum((Counter(split["label_counts"]) for split in splits), Counter())
    assert counts == Counter(tag for row in rows for tag in row["tags"].split(";") if tag)
