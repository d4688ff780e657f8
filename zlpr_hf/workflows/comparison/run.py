"""Running a comparison: cell by cell, without repeating what is finished."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.errors import InputError, find_full_disk
from zlpr_hf.losses.registry import build_loss
from zlpr_hf.training.checkpoints import find_checkpoints
from zlpr_hf.training.distillation import Teacher
from zlpr_hf.workflows.argument_checks import check_best_metric, check_metric
from zlpr_hf.workflows.arguments import render_config
from zlpr_hf.workflows.comparison.plan import Cell, Plan
from zlpr_hf.workflows.comparison.results import Comparison, summarise
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.output_dir import CONFIG_FILE, LOGITS_FILE, RESULTS_FILE

Log = Callable[[str], None]

UNKEPT_FILE = "part-unkept"
"""Says in the folder of a run that its weights are not to stay."""


def run_comparison(plan: Plan, *, log: Log = print) -> Comparison | None:
    """Run what is not finished yet, then compute the statistics and write them.

    All settings and data are checked before the first run. With a single process, a run that
    fails, say because its loss diverged or memory ran out, does not end the others.

    Args:
        plan: From :func:`zlpr_hf.workflows.comparison.plan.read_plan`.
        log: Receives progress, on the main process.

    Returns:
        All numbers, the same as in ``output_dir``; None on other processes than the main one.

    Raises:
        InputError: If data or settings are wrong, or a run was begun with other settings.
    """
    is_main = PartialState().is_main_process
    log_main: Log = log if is_main else lambda text: None
    pending = [cell for cell in plan.cells if not is_finished(cell)]
    data = _load(plan)
    for cell in plan.cells:
        if cell not in pending:
            _check_same_rows(cell, data[cell])
            if is_main:
                _settle(cell.folder, keep=plan.keep_models)  # killed just before that
    _check(plan, data)
    failed: dict[str, str] = {}
    spent: list[float] = []
    for number, cell in enumerate(pending, start=1):
        log_main(
            f"\n[{number}/{len(pending)}] {cell}{_time_left(spent, len(pending) - number + 1)}"
        )
        started = time.monotonic()
        if is_main and not plan.keep_models:
            cell.folder.mkdir(parents=True, exist_ok=True)
            (cell.folder / UNKEPT_FILE).touch()
        try:
            AcceleratorState._reset_state()  # cells may differ in precision
            finetune_config(cell.config, data=data[cell], log=lambda text: None)
        except (InputError, RuntimeError, ValueError) as error:
            if PartialState().num_processes > 1 or find_full_disk(error):
                raise  # the other processes wait for this one; the other runs need space too
            failed[str(cell)] = " ".join(str(error).split())[:300]
            log_main(f"failed: {failed[str(cell)]}")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        spent.append(time.monotonic() - started)
        gc.collect()
        if is_main:
            _settle(cell.folder, keep=plan.keep_models)
    if len(failed) == len(plan.cells):
        raise InputError(f"no run came to its end; the first one: {next(iter(failed.values()))}")
    if not is_main:
        return None
    comparison = summarise(plan, data, failed)
    comparison.save(plan.output_dir)
    return comparison


def render_plan(plan: Plan) -> str:
    """What would be run, a line a cell.

    Args:
        plan: The plan.

    Returns:
        The lines, and how many runs are finished.
    """
    finished = [is_finished(cell) for cell in plan.cells]
    lines = [
        f"{'finished' if done else 'to run':<10}{cell!s:<44} {cell.folder}"
        for cell, done in zip(plan.cells, finished, strict=True)
    ]
    return "\n".join([*lines, f"{sum(finished)} of {len(lines)} runs are finished"])


def is_finished(cell: Cell) -> bool:
    """Whether a cell has been run to its end with the same settings.

    Args:
        cell: One run.

    Returns:
        True if its numbers can be read.

    Raises:
        InputError: If it was run, or begun, with other settings.
    """
    if not (cell.folder / CONFIG_FILE).is_file():
        return False
    before = (cell.folder / CONFIG_FILE).read_text(encoding="utf-8").splitlines()
    now = render_config(cell.config).splitlines()
    if before != now:
        changed = sorted(set(before) ^ set(now), key=lambda line: line.split(":")[0])
        raise InputError(
            f"{cell.folder}: was run with other settings ({'; '.join(changed[:4])}); choose "
            "another --output_dir, or remove that folder to run it again"
        )
    return all((cell.folder / name).is_file() for name in (RESULTS_FILE, LOGITS_FILE))


def _load(plan: Plan) -> dict[Cell, LabelledData]:
    """The data of every cell, each different data set once; a loss may train on other rows."""
    loaded: dict[str, LabelledData] = {}
    data: dict[Cell, LabelledData] = {}
    for cell in plan.cells:
        key = repr(cell.config.data)
        if key not in loaded:
            loaded[key] = load_data(cell.config.data)
        data[cell] = loaded[key]
    for dataset in plan.datasets:
        first, *others = [data[cell] for cell in plan.cells if cell.dataset == dataset]
        for split in ("validation", "test"):
            for other in others:
                if other is not first and other.texts(split) != first.texts(split):
                    raise InputError(f"{dataset}: all losses must share its {split} rows")
    return data


def _check_same_rows(cell: Cell, data: LabelledData) -> None:
    with np.load(cell.folder / LOGITS_FILE) as stored:
        for split in ("validation", "test"):
            if not np.array_equal(stored[f"{split}_targets"], data.targets(split), equal_nan=True):
                raise InputError(
                    f"{cell.folder}: was run on other {split} rows than the data has now; remove "
                    "that folder to run it again"
                )


def _check(plan: Plan, data: Mapping[Cell, LabelledData]) -> None:
    """What only the data can tell, once for each loss on each data set."""
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


def _time_left(spent: list[float], cells: int) -> str:
    if not spent:
        return ""
    return f" · about {sum(spent) / len(spent) * cells / 60:.0f} minutes left"


def _settle(folder: Path, *, keep: bool) -> None:
    """Remove weights, unless they are to be kept, now or when they were made."""
    mark = folder / UNKEPT_FILE
    if mark.exists() and not keep:
        for path in find_checkpoints(folder):
            shutil.rmtree(path)
        for name in ("model.safetensors", "adapter_model.safetensors", "tokenizer.json"):
            (folder / name).unlink(missing_ok=True)
    mark.unlink(missing_ok=True)
