"""PartedFile: a file that is written in parts, so that a killed run can be resumed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import write_whole

PLAN_FILE, LOCK_FILE = "plan.json", "lock"
PART_FILES = re.compile(r"(part-)?(plan\.json|\d{6,}\.(bad|part))|whole|bad|lock")


class PartedFile:
    """Parts in a folder beside the file; at the end they become the file in one step.

    A part counts once it has its final name, and its bad rows are written before it. At whatever
    moment a run is killed, the parts it leaves are those of an undisturbed run.

    Args:
        path: The file.
        plan: Everything that the content depends on. Parts of another plan are refused.
        overwrite: Replace an existing file, or parts of another plan.

    Raises:
        InputError: If the file, parts of another plan or foreign files exist, or there is no folder
            to write to.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path = path = path.resolve() if path.is_symlink() else path
        self.bad_path = path.with_name(path.name + ".bad.jsonl")
        self.folder = path.with_name(path.name + ".parts")
        self.trash = path.with_name(path.name + ".done")
        self.plan = plan
        self._lock = FileLock(self.folder / LOCK_FILE)
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder (output)")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a regular file (output)")
        for folder in (self.folder, self.trash):
            if folder.exists() and not _is_own(folder):
                raise InputError(f"{folder} is in the way and not from an earlier run: move it")
        found = self._read_plan()
        self.resumes = found == plan
        if self.resumes or overwrite:
            return
        if found is not None:
            other = sorted(name for name in {*found, *plan} if found.get(name) != plan.get(name))
            raise InputError(
                f"{self.folder} holds parts of a run with another {', '.join(other)}: resume that "
                "run, or start anew with --overwrite"
            )
        for taken in (path, self.bad_path):
            if taken.exists():
                shutil.rmtree(self.trash, ignore_errors=True)  # left by a run killed at its end
                raise InputError(f"{taken} exists: choose another --output, or --overwrite")

    def _read_plan(self) -> dict[str, Any] | None:
        try:
            plan: dict[str, Any] = json.loads((self.folder / PLAN_FILE).read_bytes())
        except FileNotFoundError:
            return None
        return plan

    def open(self) -> set[int]:
        """Make the folder, or keep its parts; only the main process does this.

        Returns:
            Numbers of the complete parts. Several processes leave gaps when they are killed.

        Raises:
            InputError: If another run is writing the same file now.
        """
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(f"{self.path}: another run is writing it now") from error
        if not self.resumes:
            # The plan goes first: if this run is killed here, the rest belongs to no plan.
            (self.folder / PLAN_FILE).unlink(missing_ok=True)
            for old in self.folder.iterdir():
                if old.name != LOCK_FILE:
                    old.unlink()
            write_whole(self.folder / PLAN_FILE, json.dumps(self.plan, indent=2))
        return {int(part.stem) for part in self._parts()}

    def add(self, number: int, content: bytes, bad: Sequence[Mapping[str, Any]]) -> None:
        """Write part ``number`` (from 0) and its bad rows; each process writes its own parts."""
        name = f"{number:06d}"
        # In ASCII: bytes of the input that are not text are escaped, and so not lost.
        lines = "".join(json.dumps(row, default=str) + "\n" for row in bad)
        write_whole(self.folder / f"{name}.bad", lines)
        write_whole(self.folder / f"{name}.part", content)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.part"), key=lambda part: int(part.stem))

    def finish(self, join: Callable[[Sequence[Path], Path], None]) -> None:
        """Turn the parts into the file, and remove them; ``join`` writes parts into a new file."""
        parts = self._parts()
        whole, bad = self.folder / "whole", self.folder / "bad"
        join(parts, whole)
        with bad.open("wb") as stream:
            for part in parts:
                stream.write(part.with_suffix(".bad").read_bytes())
        if bad.stat().st_size:
            os.replace(bad, self.bad_path)
        else:
            self.bad_path.unlink(missing_ok=True)
        os.replace(whole, self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the parts; renaming their folder first makes it one step."""
        shutil.rmtree(self.trash, ignore_errors=True)
        self.folder.rename(self.trash)
        self._lock.release()
        shutil.rmtree(self.trash, ignore_errors=True)  # the next run may do it already


def _is_own(folder: Path) -> bool:
    """Whether a folder holds only files that a run, perhaps a killed one, has written."""
    return folder.is_dir() and all(PART_FILES.fullmatch(each.name) for each in folder.iterdir())
