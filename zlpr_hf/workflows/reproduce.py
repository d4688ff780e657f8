"""Reproduction of a finished run: train it again and compare its numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free
from zlpr_hf.reports.provenance import UNCOMMITTED_SUFFIX, Provenance, find_versions
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.arguments import RunConfig, parse_arguments, render_config
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_own_data
from zlpr_hf.workflows.output_dir import CONFIG_FILE, RESULTS_FILE

ENVIRONMENT_FIELDS = ("system", "processor", "device", "revision")


@dataclass(frozen=True)
class Reproduction:
    """The metrics of two runs of one configuration, by split and name.

    Without a tolerance, metrics and weights must be identical.
    """

    before: dict[str, float]
    now: dict[str, float]
    same_weights: bool
    tolerance: float | None

    @property
    def succeeded(self) -> bool:
        """True if the numbers agree within the tolerance."""
        if self.tolerance is None:
            return self.same_weights and not any(self.gaps.values())
        return all(gap <= self.tolerance for gap in self.gaps.values())

    @property
    def gaps(self) -> dict[str, float]:
        """Difference per metric; infinite if only one run has it."""
        names = self.before | self.now
        return {name: _gap(self.before.get(name), self.now.get(name)) for name in names}

    def render(self) -> str:
        """Return the metrics that differ, with the verdict in the last line."""
        gaps = self.gaps
        different = [name for name, gap in gaps.items() if gap != 0]
        width = max(map(len, ["weights", *gaps])) + 2
        lines = [f"{'':<{width}}{'before':>24}{'now':>24}"] if different else []
        lines += [
            f"{name:<{width}}{self.before.get(name, '-'):>24}{self.now.get(name, '-'):>24}"
            for name in different
        ]
        equal = len(gaps) - len(different)
        lines.append(f"{equal} of {len(gaps)} metrics of validation and test are equal")
        lines.append(f"weights: {'equal' if self.same_weights else 'different'}")
        if self.same_weights and not different:
            verdict = "equal bit for bit"
        elif self.succeeded:
            verdict = f"within tolerance: metrics differ by at most {max(gaps.values()):.3g}"
        else:
            verdict = "different"
        return "\n".join([*lines, verdict])


def _gap(before: float | None, now: float | None) -> float:
    if before is None or now is None:
        return math.inf
    return 0.0 if before == now or (before != before and now != now) else abs(before - now)


def reproduce(
    folder: Path,
    *,
    output_dir: Path,
    tolerance: float | None = None,
    any_data: bool = False,
    trust_remote_code: bool = False,
    log: Callable[[str], None] = print,
) -> Reproduction | None:
    """Train a finished run again and compare; resume a repetition that was interrupted.

    Torch uses as many threads as in the run, and no accelerator if the run used none. Changed data
    is an error unless ``any_data`` is set. The result is None on processes other than the main one.
    """
    before = _read_results(folder)
    if before.get("guarantee"):
        raise InputError(
            f"{folder}: expected a run as it was trained, got one with a guarantee; reproduce the "
            "run that it was made from"
        )
    recorded: dict[str, Any] = before["provenance"]
    config = _read_config(folder / CONFIG_FILE, output_dir, recorded["device"])
    config.model.trust_remote_code = trust_remote_code
    if _is_begun(output_dir, config):
        config.training.resume_from_checkpoint = "true"
    elif not is_free(output_dir):
        raise InputError(f"{output_dir} exists: remove it, or choose another --output_dir")
    is_main = config.training.process_index == 0
    with _torch_threads(recorded["threads"]) as threads:
        data = load_own_data(str(folder), config.data)
        here = Provenance.find(config.training.device, data.fingerprints(), output_dir)
        notes = list(_differences(before, here, config.training.world_size))
        if threads != recorded["threads"]:
            notes.append(f"threads: {recorded['threads']} as in the run, instead of {threads}")
        changed = [name for name, each in recorded["data"].items() if here.data.get(name) != each]
        if changed:
            notes.append(f"the data has changed ({', '.join(changed)})")
            if not any_data:
                raise InputError(f"{folder}: {notes[-1]}; --any_data trains anyway")
        for note in notes if is_main else ():
            log(f"note: {note}")
        finetune_config(config, data=data, log=log)
    if not is_main:
        return None
    now = _read_results(output_dir)
    same_weights = recorded["weights"] == now["provenance"]["weights"]
    return Reproduction(_metrics(before), _metrics(now), same_weights, tolerance)


@contextmanager
def _torch_threads(count: int) -> Iterator[int]:
    """Let torch use a number of threads within the block; yield the number outside of it."""
    outside = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield outside
    finally:
        torch.set_num_threads(outside)


def _read_config(path: Path, output_dir: Path, device: str) -> RunConfig:
    changes = [f"--output_dir={output_dir}", "--push_to_hub=false"]
    if device == "cpu":
        changes.append("--use_cpu=true")
    return parse_arguments([str(path), *changes])


def _is_begun(output_dir: Path, config: RunConfig) -> bool:
    """Return True if this very repetition was interrupted."""
    path = output_dir / CONFIG_FILE
    return (
        path.is_file()
        and not (output_dir / RESULTS_FILE).exists()
        and path.read_text(encoding="utf-8") == render_config(config)
    )


def _differences(before: dict[str, Any], here: Provenance, processes: int) -> Iterator[str]:
    """Yield differences that may explain other numbers."""
    then = before["versions"] | {name: before["provenance"][name] for name in ENVIRONMENT_FIELDS}
    now = find_versions() | {name: getattr(here, name) for name in ENVIRONMENT_FIELDS}
    then["processes"], now["processes"] = before["training"]["processes"], processes
    for name in then | now:
        if then.get(name) != now.get(name):
            yield f"{name} was {then.get(name)}, is {now.get(name)}"
        elif str(then.get(name)).endswith(UNCOMMITTED_SUFFIX):
            yield f"{name}: both have uncommitted changes, which may differ"


def _metrics(results: dict[str, Any]) -> dict[str, float]:
    splits = {"validation": results["validation"], "test": results["test"][MODEL_ROW]}
    return {
        f"{split} {name}": value for split, metrics in splits.items()
        for name, value in metrics.items()
    }  # fmt: skip


def _read_results(folder: Path) -> dict[str, Any]:
    for name in (CONFIG_FILE, RESULTS_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not a finished run of zlpr train: {name} is missing")
    path = folder / RESULTS_FILE
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    provenance = results.get("provenance") if isinstance(results, dict) else None
    needed = {"data", "weights", "threads", *ENVIRONMENT_FIELDS}
    if not isinstance(provenance, dict) or not needed <= set(provenance):
        raise InputError(
            f"{path}: no provenance, which earlier versions did not record; train the run again"
        )
    return results
