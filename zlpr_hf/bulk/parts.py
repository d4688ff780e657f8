"""PartedFile: a file that is written in parts, so that a run that was killed goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zlpr_hf.errors import InputError

PLAN_FILE = "plan.json"


class PartedFile:
    """Collects parts in a folder beside the file; at the end they become the file, at once.

    A part is whole when it has its name, and what belongs to it is written before it: whatever
    moment a run is killed at, the parts that are there are those of an undisturbed run.

    Args:
        path: The file.
        plan: Everything that the content depends on. Parts of another plan are refused.
        overwrite: Whether a file that is there, or parts of another plan, may be replaced.

    Raises:
        InputError: If there is a file already, parts of another plan, or no folder to write to.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path = path
        self.bad_path = path.with_name(path.name + ".bad.jsonl")
        self.folder = path.with_name(path.name + ".parts")
        self.plan = json.dumps(plan, sort_keys=True, indent=2)
        self._count = 0
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder (output)")
        if path.is_dir():
            raise InputError(f"{path} is a folder; expected a file (output)")
        found = self._read_plan()
        self.goes_on = found == self.plan
        if found is not None and not self.goes_on and not overwrite:
            raise InputError(
                f"{self.folder} holds parts of another run (other input, model or options): "
                "finish that one, or start anew with --overwrite"
            )
        if path.exists() and not self.goes_on and not overwrite:
            raise InputError(f"{path} exists: choose another --output, or --overwrite")

    def _read_plan(self) -> str | None:
        try:
            return (self.folder / PLAN_FILE).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self) -> int:
        """Make the folder, or keep the parts it has.

        Returns:
            Number of whole parts.
        """
        if not self.goes_on:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            _write(self.folder / PLAN_FILE, self.plan.encode("utf-8"))
        self._count = len(self._parts())
        return self._count

    def add(self, content: bytes, bad: Sequence[Mapping[str, Any]]) -> None:
        """Write the next part.

        Args:
            content: What goes into the file.
            bad: Rows that do not, for the file beside it.
        """
        name = f"{self._count:06d}"
        # In ASCII: what is no text in the input is escaped, and so is not lost.
        lines = "".join(json.dumps(row, default=str) + "\n" for row in bad)
        _write(self.folder / f"{name}.bad", lines.encode("ascii"))
        _write(self.folder / f"{name}.part", content)
        self._count += 1

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.part"))

    def finish(self, join: Callable[[Sequence[Path], Path], None]) -> int:
        """Turn the parts into the file, and remove them.

        Args:
            join: Writes the parts, one after the other, into a new file.

        Returns:
            Number of bad rows, which are in ``FILE.bad.jsonl`` if there are any.
        """
        parts = self._parts()
        whole, bad = self.folder / "whole", self.folder / "bad"
        join(parts, whole)
        with bad.open("wb") as stream:
            for part in parts:
                stream.write(part.with_suffix(".bad").read_bytes())
        with bad.open("rb") as stream:
            count = sum(1 for _ in stream)
        if count:
            os.replace(bad, self.bad_path)
        else:
            self.bad_path.unlink(missing_ok=True)
        os.replace(whole, self.path)
        self.discard()
        return count

    def discard(self) -> None:
        """Remove the parts; first all at once, by renaming their folder."""
        done = self.folder.with_name(self.path.name + ".done")
        shutil.rmtree(done, ignore_errors=True)
        self.folder.rename(done)
        shutil.rmtree(done)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".new")
    part.write_bytes(content)
    os.replace(part, path)
