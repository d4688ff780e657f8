"""Children: commands in processes forked from a warm one, which end when they are told."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
LONGEST = 120.0
"""Seconds after which a child hangs."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        status: Its exit status; minus the signal that ended it; None if it hung.
        seconds: How long it took.
        writes: Moments at which it changed something in its folder, if it came to its end.
        errors: What it wrote to standard error.
    """

    status: int | None
    seconds: float
    writes: int
    errors: str


def run_child(
    argv: list[str],
    place: Path,
    *,
    after: float | None = None,
    at_write: int | None = None,
    largest_file: int | None = None,
) -> Ended:
    """Run a command of zlpr.

    Args:
        argv: Its arguments.
        place: The folder in which changes count.
        after: Seconds after which it is killed.
        at_write: Which change it is killed before.
        largest_file: Bytes that a file may have in it.

    Returns:
        How it ended.
    """
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.torture.warm"])
    logs = [place.parent / f"{place.name}-{name}.log" for name in ("errors", "writes")]
    for log in logs:
        log.unlink(missing_ok=True)
    started = time.monotonic()
    child = context.Process(target=_run, args=(argv, place, logs, at_write, largest_file))
    child.start()
    child.join(LONGEST if after is None else after)
    alive = child.is_alive()
    if alive:
        child.kill()
        child.join()
    status = None if alive and after is None else child.exitcode
    errors, writes = (log.read_text() if log.exists() else "" for log in logs)
    child.close()
    return Ended(status, time.monotonic() - started, int(writes or 0), errors)


def _run(
    argv: list[str], place: Path, logs: list[Path], at_write: int | None, largest: int | None
) -> None:
    errors = os.open(logs[0], os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    writes = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (opened or event in CHANGES) and str(arguments[0]).startswith(str(place)):
            writes += 1
            if writes == at_write:
                os.kill(os.getpid(), signal.SIGKILL)

    from zlpr_hf.bulk import labelling
    from zlpr_hf.cli import main

    labelling.PART_ROWS = 64
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.addaudithook(count)
    status = main(argv)
    logs[1].write_text(str(writes))
    sys.exit(status)
