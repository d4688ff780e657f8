"""Run a comparison cell by cell, without repeating finished runs."""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from filelock import FileLock, Timeout

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.errors import InputError, find_full_disk
from zlpr_hf.losses.registry import build_loss
from zlpr_hf.training.checkpoints import find_checkpoints
from zlpr_hf.training.distillation import Teacher
from zlpr_hf.workflows.argument_checks import check_best_metric, check_metric
from zlpr_hf.workflows.arguments import parse_arguments, render_config
from zlpr_hf.workflows.comparison.cell import Cell
from zlpr_hf.workflows.comparison.frozen import (
    FrozenTier,
    describe_frozen,
    read_features,
    run_frozen_cell,
)
from zlpr_hf.workflows.comparison.plan import Plan
from zlpr_hf.workflows.comparison.results import Comparison, summarise
from zlpr_hf.workflows.comparison.search import Search, SearchResults
from zlpr_hf.workflows.earlier_runs import EarlierRuns
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.output_dir import CONFIG_FILE, LOGITS_FILE, RESULTS_FILE

Log = Callable[[str], None]

LOCK_FILE = ".lock"
UNKEPT_FILE = "part-unkept"
"""Marks the folder of a run whose weights are removed at its end."""
WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "tokenizer.json")


def run_comparison(plan: Plan, *, log: Log = print) -> Comparison | None:
    """Run all unfinished cells, then compute the statistics.

    All settings and data are checked before the first run. In a single process, a run that fails,
    for example because its loss diverges or memory runs out, does not end the others. The result is
    None on processes other than the main one.
    """
    is_main = PartialState().is_main_process
    log_main: Log = log if is_main else lambda text: None
    pending = [cell for cell in plan.cells if not is_finished(cell, plan.frozen)]
    data = _load_data(plan)
    for cell in plan.cells:
        if cell not in pending:
            _check_same_rows(cell, data[cell])
            if is_main:  # a kill may have come between the end of the run and the removal
                _remove_weights(cell.folder, keep=plan.keep_models)
    _check_cells(plan, data)
    failed: dict[str, str] = {}
    found = None
    if plan.search is not None:
        trials = [cell for cell in plan.trials if cell in pending]
        failed = _run_cells(plan, trials, data, log_main)
        found = read_search(plan, plan.search)
        log_main(f"\nbest of {plan.search.trials} trials on validation:\n{found.render()}")
        lost = map(str, _lost_trials(plan, found))
        failed = {name: failed.get(name, "its logits are not finite") for name in lost}
        plan = _choose_cells(plan, found)
        pending = [cell for cell in plan.cells if not is_finished(cell)]
    failed |= _run_cells(plan, pending, data, log_main)
    if all(str(cell) in failed for cell in plan.cells):
        raise InputError(f"all runs failed; the first one: {next(iter(failed.values()))}")
    if not is_main:
        return None
    return summarise(plan, data, failed, found)


def _run_cells(
    plan: Plan, pending: Sequence[Cell], data: Mapping[Cell, LabelledData], log: Log
) -> dict[str, str]:
    """Run cells, and return the reasons of those that fail; ``log`` is that of the main process."""
    is_main = PartialState().is_main_process
    failed: dict[str, str] = {}
    started = time.monotonic()
    for done, cell in enumerate(_share(pending, plan.frozen)):
        minutes = (time.monotonic() - started) / 60
        left = f" · about {minutes / done * (len(pending) - done):.0f} minutes left" if done else ""
        log(f"\n[{done + 1}/{len(pending)}] {cell}{left}")
        if is_main and not plan.keep_models:
            cell.folder.mkdir(parents=True, exist_ok=True)
            (cell.folder / UNKEPT_FILE).touch()
        reason = _run_cell(cell, data[cell], plan)
        if reason:
            failed[str(cell)] = reason
            log(f"failed: {reason}")
        if is_main:
            _remove_weights(cell.folder, keep=plan.keep_models)
    return failed


def _share(pending: Sequence[Cell], frozen: FrozenTier | None) -> Iterator[Cell]:
    """Yield cells to run: those that no other process runs, then what is left.

    Other processes are those of the same plan and output folder, started by hand. At the end they
    wait for each other's last cells, so that each of them sees all results. Processes that train a
    model together run all cells together.
    """
    if frozen is None and PartialState().num_processes > 1:
        yield from pending
        return
    taken: list[Cell] = []
    for cells, blocking in ((pending, False), (taken, True)):
        for cell in cells:
            cell.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(cell.folder / LOCK_FILE)
            try:
                lock.acquire(blocking=blocking)
            except Timeout:
                taken.append(cell)
                continue
            try:
                if not is_finished(cell, frozen):
                    yield cell
            finally:
                lock.release()


def _run_cell(cell: Cell, data: LabelledData, plan: Plan) -> str | None:
    """Train one cell, and return the reason if it fails."""
    reason = None
    try:
        if plan.frozen is not None:
            features = read_features(cell.config, data, plan.output_dir)
            run_frozen_cell(cell, data, features, plan.frozen)
            return None
        AcceleratorState._reset_state()  # cells may differ in precision
        finetune_config(cell.config, data=data, log=lambda text: None)
    except (InputError, RuntimeError, ValueError) as error:
        if PartialState().num_processes > 1 or find_full_disk(error):
            raise  # other processes wait for this one; other runs need space too
        reason = " ".join(str(error).split())[:300]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    gc.collect()
    return reason


def read_search(plan: Plan, search: Search) -> SearchResults:
    """Judge the trials of a plan that are finished."""
    return SearchResults.read(search, {cell: is_finished(cell) for cell in plan.trials})


def _choose_cells(plan: Plan, found: SearchResults) -> Plan:
    """Return the plan with the cells of the best trials only."""
    return replace(plan, cells=tuple(cell for cell in plan.cells if found.is_best(cell)))


def _lost_trials(plan: Plan, found: SearchResults) -> list[Cell]:
    """Return the trials of the losses that have failed with each setting."""
    return [cell for cell in plan.trials if found.best(cell.dataset, cell.loss) is None]


def render_plan(plan: Plan) -> str:
    """Return one line per run, and the number of finished ones."""
    runs = [
        (str(cell), cell.folder, is_finished(cell, plan.frozen))
        for cell in plan.trials or plan.cells
    ]
    about = ""
    if plan.search is not None:
        trials = len(runs)
        runs += _list_runs_of_best(plan, plan.search)
        about = (
            f"{trials} trials ({plan.search.trials} per dataset and loss) and {len(runs) - trials} "
            "more runs of the best: "
        )
    lines = [
        f"{'finished' if done else 'to run':<10}{name:<44} {folder}" for name, folder, done in runs
    ]
    finished = sum(done for _, _, done in runs)
    return "\n".join([*lines, f"{about}{finished} of {len(lines)} runs are finished"])


def _list_runs_of_best(plan: Plan, search: Search) -> Iterator[tuple[str, Path, bool]]:
    """Yield the runs of the other seeds; without a number until all trials are finished."""
    found, trials = read_search(plan, search), plan.trials
    searching = {(cell.dataset, cell.loss) for cell in trials if not is_finished(cell)}
    for cell in plan.cells:
        if cell in trials:
            continue
        if (cell.dataset, cell.loss) in searching:
            if cell.trial == 1:
                name = f"{cell.dataset} · {cell.loss} · seed {cell.seed} · best trial"
                yield name, cell.folder.with_name(f"trial?_seed{cell.seed}"), False
        elif found.is_best(cell):
            yield str(cell), cell.folder, is_finished(cell)


def is_finished(cell: Cell, frozen: FrozenTier | None = None) -> bool:
    """Return True if the results of a cell are complete; refuse a run with other settings."""
    if not (cell.folder / CONFIG_FILE).is_file():
        return False
    # Parsed again, so that options renamed or added since then do not count as differences.
    before = render_config(parse_arguments([str(cell.folder / CONFIG_FILE)])).splitlines()
    now = render_config(cell.config).splitlines()
    changed = sorted(
        (line for line in set(before) ^ set(now) if line.split(":")[0] not in cell.config.auto),
        key=lambda line: line.split(":")[0],
    )
    if changed:
        raise InputError(
            f"{cell.folder}: started with other settings ({'; '.join(changed[:4])}); choose "
            "another --output_dir, or remove that folder to run it again"
        )
    if not all((cell.folder / name).is_file() for name in (RESULTS_FILE, LOGITS_FILE)):
        return False
    stored = json.loads((cell.folder / RESULTS_FILE).read_text(encoding="utf-8")).get("frozen")
    if stored != (None if frozen is None else describe_frozen(cell, frozen)):
        raise InputError(
            f"{cell.folder}: started with other settings of frozen, variant or search; choose "
            "another --output_dir, or remove that folder to run it again"
        )
    return True


def _load_data(plan: Plan) -> dict[Cell, LabelledData]:
    """Load each dataset once; cells may differ in their training rows only."""
    loaded: dict[str, LabelledData] = {}
    for cell in plan.cells:
        key = repr(cell.config.data)
        if key not in loaded:
            loaded[key] = load_data(cell.config.data, EarlierRuns.find(cell.config).known)
    data = {cell: loaded[repr(cell.config.data)] for cell in plan.cells}
    first: dict[str, LabelledData] = {}
    for cell in plan.cells:
        shared = first.setdefault(cell.dataset, data[cell])
        for split in ("validation", "test"):
            if data[cell] is not shared and data[cell].texts(split) != shared.texts(split):
                raise InputError(f"{cell.dataset}: all losses must share its {split} rows")
    return data


def _check_same_rows(cell: Cell, data: LabelledData) -> None:
    stored = cell.read_logits()
    for split in ("test",) if cell.variant else ("validation", "test"):
        if not np.array_equal(stored[f"{split}_targets"], data.targets(split), equal_nan=True):
            raise InputError(
                f"{cell.folder}: its {split} rows differ from those of the data now; remove "
                "that folder to run it again"
            )


def _check_cells(plan: Plan, data: Mapping[Cell, LabelledData]) -> None:
    """Check metrics, losses and teachers against the data, once per loss and dataset."""
    for cell in {(cell.dataset, cell.loss): cell for cell in plan.cells}.values():
        training_args, teacher = cell.config.training, cell.config.model.teacher_model_name_or_path
        num_labels = data[cell].label_space.num_labels
        for name in plan.metrics:
            check_metric(f"{cell.dataset}: metrics", name, num_labels)
        try:
            check_best_metric(
                training_args, num_labels, large=bool(training_args.large_label_space)
            )
            build_loss(training_args.loss, train_targets=data[cell].targets("train"))
            if teacher:
                Teacher.load(teacher, data[cell].label_space)
        except InputError as error:
            raise InputError(f"{cell.dataset}, {cell.loss}: {error}") from error


def _remove_weights(folder: Path, *, keep: bool) -> None:
    """Remove the weights of a run, except if they are kept now or were when it started."""
    mark = folder / UNKEPT_FILE
    if mark.exists() and not keep:
        for path in find_checkpoints(folder):
            shutil.rmtree(path, ignore_errors=True)  # another process may remove them too
        for name in WEIGHTS:
            (folder / name).unlink(missing_ok=True)
    mark.unlink(missing_ok=True)
