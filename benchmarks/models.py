"""Train, save, reload and export every classifier class of transformers, tiny and random.

Run: python -m benchmarks.models               # every class; writes results/models.json
     python -m benchmarks.models Bert GPT2     # prints these classes only

Each class runs in a process of its own. An interrupted run over all classes resumes: classes that
are done stay in out/models.jsonl until results/models.json is written.
"""

import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import transformers.exporters.exporter_onnx  # loaded once, before processes are forked

from benchmarks.model_checks import CHECKS, check_class
from benchmarks.model_table import SUFFIX, YES
from benchmarks.output import save
from benchmarks.tiny_models import find_classes

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
DONE = REPOSITORY / "out" / "models.jsonl"
"""The classes that an unfinished run has checked, one per line."""
MAX_SECONDS = 600.0
"""Time limit of a class."""


def check_isolated(class_name: str) -> dict[str, str]:
    """Run :func:`check_class` in a process of its own, with a time limit.

    A check that hangs or ends the process gets a line that says so; checks before it keep theirs.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    found: dict[str, str] = {}
    failure = f"traceback: no result within {MAX_SECONDS:.0f} s"
    end = time.monotonic() + MAX_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_send, args=(class_name, Path(folder), sender))
        process.start()
        sender.close()
        try:
            while receiver.poll(max(0.0, end - time.monotonic())):
                capability, line = receiver.recv()
                found[capability] = line
        except EOFError:
            failure = "traceback: the process ended without a result"
        process.kill()
        process.join()
    if found.get("trains", YES) == YES and len(found) < len(CHECKS):
        found[list(CHECKS)[len(found)]] = failure
    return found


def _send(class_name: str, folder: Path, sender: Any) -> None:
    for outcome in check_class(class_name, folder):
        sender.send(outcome)


def run(names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Check classes one after the other, and print a line for each."""
    classes = find_classes()
    found = {}
    for name in names:
        before = _child_seconds()
        checks = check_isolated(name)
        found[name] = {
            "model_type": classes[name][0].model_type,
            "cpu_seconds": round(_child_seconds() - before, 1),
            "checks": checks,
        }
        limits = [f"{each}: {line}" for each, line in checks.items() if line != YES]
        print(f"{name}: {'; '.join(limits) or YES}", flush=True)
    return found


def _child_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


def run_all() -> dict[str, dict[str, Any]]:
    """Check every class that an interrupted run has not checked with these versions."""
    versions = {each.__name__: each.__version__ for each in (transformers, torch)}
    done = {}
    if DONE.is_file():
        rows = map(json.loads, DONE.read_text(encoding="utf-8").splitlines())
        done = {row["name"]: row["found"] for row in rows if row["versions"] == versions}
    DONE.parent.mkdir(exist_ok=True)
    for name in find_classes():
        if name not in done:
            done |= run([name])
            row = {"name": name, "versions": versions, "found": done[name]}
            with DONE.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
    return {name: done[name] for name in find_classes()}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    torch.set_num_threads(1)  # children are forked
    if sys.argv[1:]:
        run([f"{name}{SUFFIX}" for name in sys.argv[1:]])
        return
    found = run_all()
    seconds = round(sum(each.pop("cpu_seconds") for each in found.values()))
    content = {"transformers": transformers.__version__, "cpu_seconds": seconds, "classes": found}
    save("models", content, folder=RESULTS)
    DONE.unlink()


if __name__ == "__main__":
    main()
