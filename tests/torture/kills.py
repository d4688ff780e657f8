"""Kills: training, comparing, predicting and exporting, ended at any moment and gone on with."""

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
"""Share of kills after a random time; the others come just before a random change of a file."""


def kills(folder: Path, seed: int, scale: float) -> Tally:
    """Kill, go on, and compare with what was left alone.

    Args:
        folder: An empty folder.
        seed: Draws the moments.
        scale: Share of the usual number of kills.

    Returns:
        What was found.
    """
    draw = random.Random(seed)
    tally = Tally()
    for name, work, wanted, alone, expected in run_undisturbed(folder, KILLS, scale):
        killed = 0
        while killed < wanted:
            place = folder / f"{name}-cut"
            place.mkdir()
            several = min(wanted - killed, draw.choice((1, 1, 1, 2, 3)))
            found = _cut(name, work, place, expected, alone, draw, several)
            tally, killed = tally + found, killed + found.faults
            shutil.rmtree(place)
    return tally


def _cut(
    name: str,
    work: Work,
    place: Path,
    expected: dict[str, Any],
    alone: Ended,
    draw: random.Random,
    several: int,
) -> Tally:
    """Kill a run and what goes on with it, so many times, and let the last one come to its end."""
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
            note = f"{name} {moments}: taken for finished without {lost}"
            tally += Tally(wrong=1, notes=(note,))
    return tally + go_on(f"{name} {moments}", work, place, expected)


def go_on(what: str, work: Work, place: Path, expected: dict[str, Any]) -> Tally:
    """Let a run go on to its end, and compare.

    Args:
        what: Says in a note what was done to it.
        work: The command.
        place: What it has left.
        expected: What an undisturbed run leaves.

    Returns:
        Nothing, or what is wrong.
    """
    ended = run_child(work.arguments(place, again=True), place)
    found = work.outcome(place)
    refused = ended.status == 2 and "exists: choose another" in ended.errors  # it was finished
    if ended.status is None:
        return Tally(hangs=1, notes=(f"{what}: hangs",))
    if "Traceback" in ended.errors:
        return Tally(tracebacks=1, notes=(f"{what}: {ended.errors[-1500:]}",))
    others = differing({*found, *expected}, found, expected)
    if others or not (ended.status == 0 or refused):
        note = f"{what}: {ended.status}, differ: {others} {ended.errors[-300:]}"
        return Tally(wrong=1, notes=(note,))
    return Tally()


def differing(names: Iterable[str], found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The files among some that are not as expected.

    Args:
        names: Files to look at.
        found: As :meth:`tests.torture.work.Work.outcome` returns it.
        expected: Likewise.
    """
    return sorted(name for name in names if found.get(name, 0) != expected.get(name, 0))
