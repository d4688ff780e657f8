"""docs/tutorial.md shows the output of runs that results/ holds, of the file that it makes."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command_lines import REPOSITORY
from tests.docs.pages import blocks
from zlpr_hf.data.profile import DataProfile, SplitProfile
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.reports.report import Report
from zlpr_hf.thresholds import Thresholds

SHOWN = blocks("docs/tutorial.md", "text")


def kept(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPOSITORY / "results" / name).read_text("utf-8"))
    return content


def rendered(run: dict[str, Any]) -> tuple[str, str]:
    """The profile and the tables that the run printed."""
    splits = {name: SplitProfile(**split) for name, split in run["profile"]["splits"].items()}
    profile = DataProfile(**(run["profile"] | {"splits": splits}))
    report = Report(
        output_dir=run["output_dir"],
        test=run["test"],
        validation=run["validation"],
        label_scores=[LabelScore(**score) for score in run["label_scores"]],
        thresholds=Thresholds(),
        profile=profile,
        training=run["training"],
    )
    return profile.render(), report.render()


def test_first_table_is_that_of_the_quickstart() -> None:
    _, table = rendered(kept("quickstart-seed42.json"))
    shown = SHOWN[0].splitlines()
    assert shown == [line[: len(shown[0])] for line in table.splitlines()[:4]]
    assert shown[0].endswith("F1 samples")


def test_profile_and_report_are_those_of_the_run() -> None:
    profile, report = rendered(kept("tutorial.json"))
    assert profile + "\n" in SHOWN
    assert report.partition("\n\ntrained")[0] + "\n" in SHOWN


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
