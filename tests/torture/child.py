"""Run commands in processes forked from a warm one, and kill them at a chosen moment."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.torture.warm"])
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
MAX_SECONDS = 240.0
"""A child that takes longer hangs."""
MAX_MESSAGES = 1 << 20
"""Bytes of standard error that are kept."""


@dataclass(frozen=True)
class Ended:
    """The end of a child.

    Args:
        status: Exit status; minus the number of the signal that killed it; None if it hung.
        seconds: Duration.
        changes: Number of changes it made in its folder; 0 if it was killed.
        errors: Standard error.
    """

    status: int | None
    seconds: float
    changes: int
    errors: str


def run_child(
    argv: list[str],
    place: Path,
    *,
    after: float | None = None,
    at_change: int | None = None,
    full_at: int | None = None,
    room: int = 0,
) -> Ended:
    """Run a command of zlpr.

    Args:
        argv: Its arguments.
        place: The folder in which changes are counted, from 1.
        after: Kill it after this many seconds.
        at_change: Kill it just before this change.
        full_at: From this change on no file may grow beyond ``room``.
        room: Bytes.
    """
    # A pipe, because the limit would apply to a file too.
    receiver, sender = CONTEXT.Pipe(duplex=False)
    fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, MAX_MESSAGES)
    started = time.monotonic()
    child = CONTEXT.Process(target=_run, args=(argv, place, sender, at_change, full_at, room))
    child.start()
    sender.close()
    child.join(MAX_SECONDS if after is None else after)
    alive = child.is_alive()
    if alive:
        child.kill()
        child.join()
    status = None if alive and after is None else child.exitcode
    child.close()
    with open(receiver.fileno(), "rb", closefd=False) as stream:
        errors = stream.read().decode("utf-8", "replace")
    receiver.close()
    last = re.search(r"changes: (\d+)\n\Z", errors)
    if last is not None:
        errors = errors[: last.start()]
    return Ended(status, time.monotonic() - started, int(last[1]) if last else 0, errors)


def _run(
    argv: list[str],
    place: Path,
    sender: Connection,
    at_change: int | None,
    full_at: int | None,
    room: int,
) -> None:
    os.dup2(sender.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    changes = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (opened or event in CHANGES) and str(arguments[0]).startswith(str(place)):
            changes += 1
            if changes == at_change:
                os.kill(os.getpid(), signal.SIGKILL)
            if changes == full_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    from zlpr_hf.cli.main import main
    from zlpr_hf.inference import label_file as labelling

    labelling.PART_ROWS = 64
    sys.addaudithook(count)
    status = main(argv)
    print(f"changes: {changes}", file=sys.stderr, flush=True)
    sys.exit(status)
