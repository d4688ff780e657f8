"""Kill training, comparison, prediction and export at any moment, resume, and compare."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.torture.child import Ended, run_child
from tests.torture.tally import Tally
from tests.torture.work import Work, run_undisturbed

KILLS = {"train": 28, "predict": 20, "compare": 12, "export": 6}
TIMED = 0.4
"""Fraction of kills at a random time; the others happen just before a random change of a file."""


def kills(folder: Path, seed: int, scale: float) -> Tally:
    """Kill and resume commands, and compare their outcome with that of undisturbed runs.

    Args:
        folder: An empty folder.
        seed: Seed of the random moments.
        scale: Fraction of the usual number of kills.
    """
    draw = random.Random(seed)
    tally = Tally()
    for name, work, wanted, alone, expected in run_undisturbed(folder, KILLS, scale):
        killed = 0
        while killed < wanted:
            place = folder / f"{name}-cut"
            place.mkdir()
            several = min(wanted - killed, draw.choice((1, 1, 1, 2, 3)))
            found = _kill_and_resume(name, work, place, expected, alone, draw, several)
            tally, killed = tally + found, killed + found.faults
            shutil.rmtree(place)
    return tally


def _kill_and_resume(
    name: str,
    work: Work,
    place: Path,
    expected: dict[str, Any],
    alone: Ended,
    draw: random.Random,
    several: int,
) -> Tally:
    """Kill a run and its resumed runs ``several`` times; the last one may finish."""
    tally, moments = Tally(), []
    for number in range(several):
        after = change = None
        if draw.random() < TIMED:
            after = draw.uniform(0, alone.seconds)
        else:
            change = draw.randint(1, alone.changes)
        moments.append(f"{after:.3f} s" if change is None else f"change {change}")
        argv = work.arguments(place, again=number > 0)
        ended = run_child(argv, place, after=after, at_change=change)
        tally += Tally(faults=ended.status == -9)
        found = work.outcome(place)
        if work.finds_finished(place) and (lost := differing(expected, found, expected)):
            note = f"{name} {moments}: looks finished without {lost}"
            tally += Tally(wrong=1, notes=(note,))
    return tally + resume(f"{name} {moments}", work, place, expected)


def resume(fault: str, work: Work, place: Path, expected: dict[str, Any]) -> Tally:
    """Resume a run to its end and compare its outcome.

    Args:
        fault: Description of the fault, for notes.
        work: The command.
        place: The folder with the files of the disturbed run.
        expected: Outcome of an undisturbed run.
    """
    ended = run_child(work.arguments(place, again=True), place)
    found = work.outcome(place)
    refused = (
        ended.status == 2 and "exists: choose another" in ended.errors
    )  # it had finished before
    if ended.status is None:
        return Tally(hangs=1, notes=(f"{fault}: hangs",))
    if "Traceback" in ended.errors:
        return Tally(tracebacks=1, notes=(f"{fault}: {ended.errors[-1500:]}",))
    others = differing({*found, *expected}, found, expected)
    if others or not (ended.status == 0 or refused):
        note = f"{fault}: {ended.status}, differ: {others} {ended.errors[-300:]}"
        return Tally(wrong=1, notes=(note,))
    return Tally()


def differing(names: Iterable[str], found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the files among ``names`` whose content is not as expected."""
    return sorted(name for name in names if found.get(name, 0) != expected.get(name, 0))
