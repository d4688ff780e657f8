"""All parts of the torture, and a table of what they found: python -m tests.torture"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from tests.torture.disk import disk
from tests.torture.fuzz import fuzz
from tests.torture.kills import kills
from tests.torture.tally import Part, Tally

PARTS: dict[str, Part] = {"kills": kills, "disk": disk, "fuzz": fuzz}
"""Name to part, in the order in which they run."""

COUNTS = [field.name for field in fields(Tally) if field.name != "notes"]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__)
    parser.add_argument("--part", action="append", choices=sorted(PARTS), help="only these")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other faults and inputs")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual amount")
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)  # what is suspect about broken input is no news here
    tallies: dict[str, tuple[Tally, float]] = {}
    for name in options.part or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            tally = PARTS[name](Path(folder), options.seed, options.scale)
        tallies[name] = (tally, time.monotonic() - started)
    print(render(tallies))
    return 0 if all(tally.clean for tally, _ in tallies.values()) else 1


def render(tallies: dict[str, tuple[Tally, float]]) -> str:
    """The table, and below it what was found."""
    heads = ["part", *(name.replace("_", " ") for name in COUNTS), "minutes"]
    rows = [
        [name, *(f"{getattr(tally, count):,}" for count in COUNTS), f"{seconds / 60:.1f}"]
        for name, (tally, seconds) in tallies.items()
    ]
    sums = [sum(getattr(tally, count) for tally, _ in tallies.values()) for count in COUNTS]
    minutes = sum(seconds for _, seconds in tallies.values()) / 60
    rows.append(["all", *(f"{each:,}" for each in sums), f"{minutes:.1f}"])
    lines = [f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows]]
    notes = [f"{name}: {note}" for name, (tally, _) in tallies.items() for note in tally.notes]
    return "\n".join([*lines, *notes])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
