"""Full disks: training, comparing, predicting and exporting run out of space, and go on later."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture.child import Ended, run_child
from tests.torture.kills import differing, resume
from tests.torture.tally import Tally
from tests.torture.work import Work, run_undisturbed

DISKS = {"train": 20, "predict": 12, "compare": 10, "export": 4}
ROOM = (0, 100, 1000, 10_000, 100_000)
"""Possible limits in bytes on files after some change; small ones stop most writes."""
MOUNTED = 0.5
"""Fraction of faults on a small mounted disk, if mounting is permitted."""


def disk(folder: Path, seed: int, scale: float) -> Tally:
    """Fill the disk, check the files and messages, free space and resume.

    Args:
        folder: An empty folder.
        seed: Seed of the random moments.
        scale: Fraction of the usual number of full disks.
    """
    draw = random.Random(seed)
    tally = Tally()
    may_mount = _can_mount(folder)
    if not may_mount:
        tally += Tally(notes=("no small disks: mounting requires root; limits on files only",))
    for name, work, wanted, alone, expected in run_undisturbed(folder, DISKS, scale):
        most = sum(path.stat().st_size for path in (folder / name).rglob("*")) // 1024
        for number in range(wanted):
            place = folder / f"{name}-full"
            place.mkdir()
            if may_mount and number >= wanted * (1 - MOUNTED):
                size = draw.randint(8, most)
                with _small_disk(place, size) as make_room:
                    ended = run_child(work.arguments(place), place)
                    tally += _check(f"{name}, disk of {size} KB", work, place, expected, ended)
                    make_room()
                    tally += resume(f"{name}, disk of {size} KB", work, place, expected)
            else:
                change, room = draw.randint(1, alone.changes), draw.choice(ROOM)
                ended = run_child(work.arguments(place), place, full_at=change, room=room)
                fault = f"{name}, files of {room} bytes from change {change} on"
                tally += _check(fault, work, place, expected, ended)
                tally += resume(fault, work, place, expected)
            shutil.rmtree(place)
    return tally


def _check(fault: str, work: Work, place: Path, expected: dict[str, Any], ended: Ended) -> Tally:
    """Check the message, the exit status and the files after a full disk."""
    found = work.outcome(place)
    if ended.status is None:
        return Tally(hangs=1, notes=(f"{fault}: hangs",))
    if ended.status == 0:  # everything fitted
        others = differing({*found, *expected}, found, expected)
        return Tally(
            wrong=bool(others),
            notes=(f"{fault}: exit status 0, but {others} differ",) if others else (),
        )
    lines = [line for line in re.split(r"[\r\n]", ended.errors) if "rror: " in line]
    reported = len(lines) == 1 and lines[0].startswith("error: no space left on the disk (")
    tally = Tally(faults=1)
    if not reported or ended.status != 1:
        tally += Tally(tracebacks=1, notes=(f"{fault}: {ended.status} {ended.errors[-1500:]}",))
    if work.finds_finished(place) and (lost := differing(expected, found, expected)):
        tally += Tally(wrong=1, notes=(f"{fault}: looks finished without {lost}",))
    both = {*found} & {*expected}
    if half := differing(both, found, expected):
        tally += Tally(wrong=1, notes=(f"{fault}: half-written {half}",))
    return tally


def _can_mount(folder: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    place = folder / "mounted"
    place.mkdir()
    try:
        with _small_disk(place, 8):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def _small_disk(place: Path, size: int) -> Iterator[Callable[[], object]]:
    """Mount a disk in memory of ``size`` KB; yield a function that enlarges it."""
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, f"size={size}k", "tmpfs", place], check=True, capture_output=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
    finally:
        subprocess.run(["umount", place], check=True)
