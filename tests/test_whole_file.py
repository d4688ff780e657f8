"""Files and folders are whole or not there, leftovers go, and a full disk is one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlpr_hf import InputError
from zlpr_hf.full_disk import find_full_disk
from zlpr_hf.new_folder import new_folder
from zlpr_hf.whole_file import part_of, whole_file, write_whole


def test_what_was_there_stays_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "before")
    with pytest.raises(OSError, match="full"), whole_file(path) as part:
        part.write_text("aft")
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "before"
    part_of(path).write_text("of a killed run")
    write_whole(path, b"after")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.json": "after"}


def test_folders_of_killed_runs_go_and_those_of_others_stay(tmp_path: Path) -> None:
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
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert find_full_disk(error) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_into_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "zlpr_hf.cli", "predict", "--help"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.returncode != 0
