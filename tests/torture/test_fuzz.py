"""A short run of the fuzzer of ``make torture``, and faults that it must find."""

from pathlib import Path
from typing import Any

import pytest

from tests.torture import fuzz
from tests.torture.inputs import Input
from zlpr_hf.data.json_file import JsonFile


def test_broken_files_end_in_a_value_or_one_line(tmp_path: Path) -> None:
    tally = fuzz.fuzz(tmp_path, 1, 0.01)
    assert tally.inputs == 1000
    assert tally.clean, tally.notes


def test_rows_are_counted_independently() -> None:
    assert Input(".csv", b'text,labels\n"a\nb",x\n\nc,y\n', None).count() == 2
    assert Input(".jsonl", b'{"text": "a"}\r\n \n{"text"', None).count() == 2
    assert Input(".txt", b"a\n\nb", None).count() == 3
    assert Input(".csv", b'text\n"a', None).count() is None
    assert Input(".parquet", b"PAR1", None).count() is None


@pytest.mark.parametrize("kind", ["rows_lost", "tracebacks", "hangs"])
def test_a_fault_in_a_reader_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    whole = JsonFile.__iter__

    def broken(self: Any) -> Any:
        rows = list(whole(self))
        while kind == "hangs":
            pass
        return iter(rows[:-1]) if kind == "rows_lost" else 1 / 0

    monkeypatch.setattr(JsonFile, "__iter__", broken)
    if kind == "hangs":
        monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    found = [fuzz.try_case(tmp_path, f"0/{number}")[0] for number in range(60)]
    assert set(found) == {"", kind}
