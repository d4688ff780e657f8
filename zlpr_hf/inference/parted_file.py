"""PartedFile: a file that is written in parts, so that a run that was killed goes on."""

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
    """Collects parts in a folder beside the file; at the end they become the file, at once.

    A part is whole when it has its name, and what belongs to it is written before it: whatever
    moment a run is killed at, the parts that are there are those of an undisturbed run.

    Args:
        path: The file.
        plan: Everything that the content depends on. Parts of another plan are refused.
        overwrite: Whether a file that is there, or parts of another plan, may be replaced.

    Raises:
        InputError: If there is a file already, parts of another plan, something that is not ours
            where the parts go, or no folder to write to.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path = path = path.resolve() if path.is_symlink() else path
        self.bad_path = path.with_name(path.name + ".bad.jsonl")
        self.folder = path.with_name(path.name + ".parts")
        self.done = path.with_name(path.name + ".done")
        self.plan = plan
        self._lock = FileLock(self.folder / LOCK_FILE)
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder (output)")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file (output)")
        for folder in (self.folder, self.done):
            if folder.exists() and not _is_ours(folder):
                raise InputError(f"{folder} is in the way and not of an earlier run: move it")
        found = self._read_plan()
        self.goes_on = found == plan
        if self.goes_on or overwrite:
            return
        if found is not None:
            other = sorted(name for name in {*found, *plan} if found.get(name) != plan.get(name))
            raise InputError(
                f"{self.folder} holds parts of a run with another {', '.join(other)}: finish that "
                "one, or start anew with --overwrite"
            )
        for taken in (path, self.bad_path):
            if taken.exists():
                shutil.rmtree(self.done, ignore_errors=True)  # of the run that wrote it, if killed
                raise InputError(f"{taken} exists: choose another --output, or --overwrite")

    def _read_plan(self) -> dict[str, Any] | None:
        try:
            plan: dict[str, Any] = json.loads((self.folder / PLAN_FILE).read_bytes())
        except FileNotFoundError:
            return None
        return plan

    def open(self) -> set[int]:
        """Make the folder, or keep the parts it has; the main process does this for all.

        Returns:
            Numbers of the parts that are whole. Several processes leave gaps when they are killed.

        Raises:
            InputError: If another run is writing the same file now.
        """
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(f"{self.path}: another run is writing it now") from error
        if not self.goes_on:
            # The plan first: what is left, were this run killed here, is then nobody's.
            (self.folder / PLAN_FILE).unlink(missing_ok=True)
            for old in self.folder.iterdir():
                if old.name != LOCK_FILE:
                    old.unlink()
            write_whole(self.folder / PLAN_FILE, json.dumps(self.plan, indent=2))
        return {int(part.stem) for part in self._parts()}

    def add(self, number: int, content: bytes, bad: Sequence[Mapping[str, Any]]) -> None:
        """Write a part; of several processes each writes parts of its own.

        Args:
            number: Its place in the file, from 0.
            content: What goes into the file.
            bad: Rows that do not, for the file beside it.
        """
        name = f"{number:06d}"
        # In ASCII: what is no text in the input is escaped, and so is not lost.
        lines = "".join(json.dumps(row, default=str) + "\n" for row in bad)
        write_whole(self.folder / f"{name}.bad", lines)
        write_whole(self.folder / f"{name}.part", content)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.part"), key=lambda part: int(part.stem))

    def finish(self, join: Callable[[Sequence[Path], Path], None]) -> None:
        """Turn the parts into the file, and remove them.

        Args:
            join: Writes the parts, one after the other, into a new file.
        """
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
        """Remove the parts; first all at once, by renaming their folder."""
        shutil.rmtree(self.done, ignore_errors=True)
        self.folder.rename(self.done)
        self._lock.release()
        shutil.rmtree(self.done, ignore_errors=True)  # the next run may do it already


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run, perhaps a killed one, has written."""
    return folder.is_dir() and all(PART_FILES.fullmatch(each.name) for each in folder.iterdir())
