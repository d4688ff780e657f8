"""A short run of the kills and full disks of ``make torture``, and a fault that they find."""

from pathlib import Path

import pytest

from tests.torture import work
from tests.torture.disk import disk
from tests.torture.kills import kills, resume
from tests.torture.tally import Part

ONE_EACH = 0.06
"""Scale at which every command except export, the slowest, runs at least once."""


@pytest.mark.slow
@pytest.mark.parametrize("part", [kills, disk])
def test_short_run_finds_no_fault(part: Part, tmp_path: Path) -> None:
    tally = part(tmp_path, 1, ONE_EACH)
    assert tally.clean, tally.notes
    assert tally.faults >= 2


@pytest.mark.slow
def test_unexpected_output_is_found(tmp_path: Path) -> None:
    predict = work.Work(("predict", "no-model", "--output", "PLACE/labels.csv"), "labels.csv")
    place = tmp_path / "place"
    place.mkdir()
    (place / "labels.csv").write_text("half-writ")
    tally = resume("changed", predict, place, {"labels.csv": b"half-written"})
    assert tally.wrong == 1
    assert "labels.csv" in tally.notes[0]
