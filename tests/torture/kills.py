"""Kills: training, comparing, predicting and exporting, ended at any moment and gone on with."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.torture.child import run_child
from tests.torture.tally import Tally
from tests.torture.work import make_work

KILLS = {"train": 26, "predict": 16, "compare": 12, "export": 10}
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
    faults = tracebacks = hangs = wrong = 0
    notes: list[str] = []
    for name, work in make_work(folder).items():
        whole = folder / ("trained" if name == "train" else f"{name}-whole")
        whole.mkdir()
        left_alone = run_child(work.arguments(whole), whole)
        expected = work.outcome(whole)
        if left_alone.status != 0:
            return Tally(faults, tracebacks=1, notes=(f"{name}: {left_alone.errors[-2000:]}",))
        wanted = max(1, round(KILLS[name] * scale))
        done = 0
        while done < wanted:
            place = folder / f"{name}-cut"
            place.mkdir()
            again, moments = False, []
            for _ in range(min(wanted - done, draw.choice((1, 1, 1, 2, 3)))):
                if draw.random() < TIMED:
                    after, write = draw.uniform(0, left_alone.seconds), None
                else:
                    after, write = None, draw.randint(1, left_alone.writes)
                moments.append(f"{after:.3f} s" if after is not None else f"write {write}")
                ended = run_child(
                    work.arguments(place, again=again), place, after=after, at_write=write
                )
                again, done = True, done + 1
                faults += ended.status == -9
                hangs += ended.status is None
                found = work.outcome(place)
                if work.finds_finished(place) and any(
                    found.get(path, 0) != content for path, content in expected.items()
                ):
                    wrong += 1
                    notes.append(f"{name} {moments}: half-written, taken for whole")
            ended = run_child(work.arguments(place, again=True), place)
            found = work.outcome(place)
            hangs += ended.status is None
            finished = ended.status == 2 and "exists: choose another" in ended.errors
            if "Traceback" in ended.errors:
                tracebacks += 1
                notes.append(f"{name} {moments}: {ended.errors[-1500:]}")
            elif not (ended.status == 0 or finished) or found != expected:
                wrong += 1
                differ = sorted(
                    path
                    for path in {*found, *expected}
                    if found.get(path, 0) != expected.get(path, 0)
                )
                notes.append(f"{name} {moments}: {ended.status} {differ[:6]} {ended.errors[-300:]}")
            shutil.rmtree(place)
    return Tally(faults, tracebacks=tracebacks, hangs=hangs, wrong=wrong, notes=tuple(notes[:20]))
