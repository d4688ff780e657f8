"""Files and folders appear complete or not at all; leftovers go; a full disk is one line."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from zlpr_hf import InputError
from zlpr_hf.cli.main import main
from zlpr_hf.errors import find_full_disk
from zlpr_hf.files.atomic import new_folder, part_of, whole_file, write_whole


def test_file_keeps_its_content_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "before")
    with suppress(ZeroDivisionError), whole_file(path) as part:
        part.write_text("aft")
        _ = 1 / 0
    assert path.read_text() == "before"
    part_of(path).write_text("of a killed run")
    write_whole(path, b"after")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.json": "after"}


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    for name in (
        ".new-part-0123abcd",
        ".new-old-0123abcd",
        ".new-part-mine",
        ".newer-part-0123abcd",
    ):
        (tmp_path / name).mkdir()
    with new_folder(tmp_path / "new") as part:
        (part / "file").write_text("x")
        with pytest.raises(InputError, match="another run is writing it now"):
            new_folder(tmp_path / "new").__enter__()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"new", ".new-part-mine", ".newer-part-0123abcd"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "a.json"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 9984 vs 9876"),
        RuntimeError("basic_ios::clear: iostream error"),
        Exception("I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disks_are_recognised(error: Exception) -> None:
    assert find_full_disk(error) is not None
    outer = InputError("cannot be written")
    outer.__cause__ = error
    assert find_full_disk(outer) == find_full_disk(error)


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "denied"), ValueError("shape"), KeyError()]
)
def test_other_errors_are_not_a_full_disk(error: Exception) -> None:
    assert find_full_disk(error) is None


def test_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "out.csv")

    monkeypatch.setattr("zlpr_hf.cli.predict.run", run)
    assert main(["predict", "model", "--overwrite"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no space left on the disk (No space left on device: out.csv)" in line
    assert line.endswith(": zlpr predict model")
