"""Running a comparison: cell by cell, without repeating what is finished."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from accelerate import PartialState

from zlpr_hf.argument_checks import check_best_metric
from zlpr_hf.arguments import DataArguments, render_config
from zlpr_hf.checkpoints import CONFIG_FILE, LOGITS_FILE, RESULTS_FILE
from zlpr_hf.comparison.gathering import Comparison, gather
from zlpr_hf.comparison.plan import Cell, Plan
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.distillation import Teacher
from zlpr_hf.errors import InputError
from zlpr_hf.finetuning import finetune
from zlpr_hf.loading import load_data
from zlpr_hf.losses import build_loss

Say = Callable[[str], None]


def run_comparison(plan: Plan, *, say: Say = print) -> Comparison | None:
    """Run what is not finished yet, then compute the statistics and write them.

    All settings and data are checked before the first run. A run that fails, say because its loss
    diverged, does not end the others.

    Args:
        plan: From :func:`zlpr_hf.comparison.plan.read_plan`.
        say: Receives progress, on the main process.

    Returns:
        All numbers, the same as in ``output_dir``; None on other processes than the main one.

    Raises:
        InputError: If data or settings are wrong, or a finished run had other settings.
    """
    is_main = PartialState().is_main_process
    tell: Say = say if is_main else lambda text: None
    pending = [cell for cell in plan.cells if not is_finished(cell)]
    data = {cell.dataset: load_data(_data_arguments(cell)) for cell in _first_cells(plan)}
    for cell in pending:
        _check(cell, data[cell.dataset])
    failed: dict[str, str] = {}
    spent: list[float] = []
    for number, cell in enumerate(pending, start=1):
        tell(f"\n[{number}/{len(pending)}] {cell}{_time_left(spent, len(pending) - number + 1)}")
        started = time.monotonic()
        try:
            finetune(*cell.arguments, data=data[cell.dataset], say=lambda text: None)
        except InputError as error:
            failed[str(cell)] = str(error)
            tell(f"failed: {error}")
        spent.append(time.monotonic() - started)
        gc.collect()
        if is_main and not plan.keep_models:
            _drop_weights(cell.folder)
    if len(failed) == len(plan.cells):
        raise InputError(f"no run came to its end; the first one: {next(iter(failed.values()))}")
    if not is_main:
        return None
    comparison = gather(plan, data, failed)
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
        InputError: If it was run with other settings.
    """
    if not all((cell.folder / name).is_file() for name in (RESULTS_FILE, LOGITS_FILE)):
        return False
    before = (cell.folder / CONFIG_FILE).read_text(encoding="utf-8").splitlines()
    now = render_config(cell.arguments).splitlines()
    if before != now:
        changed = sorted(set(before) ^ set(now), key=lambda line: line.split(":")[0])
        raise InputError(
            f"{cell.folder}: was run with other settings ({'; '.join(changed[:4])}); choose "
            "another --output_dir, or remove that folder to run it again"
        )
    return True


def _first_cells(plan: Plan) -> list[Cell]:
    """One cell a data set: all its cells read the same data."""
    return list({cell.dataset: cell for cell in reversed(plan.cells)}.values())


def _data_arguments(cell: Cell) -> DataArguments:
    return cell.arguments[1]


def _check(cell: Cell, data: LabelledData) -> None:
    model_args, _, training_args = cell.arguments
    try:
        check_best_metric(training_args, data.label_space.num_labels)
        build_loss(training_args.loss, train_targets=data.targets("train"))
        if model_args.teacher_model_name_or_path:
            Teacher.load(model_args.teacher_model_name_or_path, data.label_space)
    except InputError as error:
        raise InputError(f"{cell.dataset}, {cell.loss}: {error}") from error


def _time_left(spent: list[float], cells: int) -> str:
    if not spent:
        return ""
    return f" · about {sum(spent) / len(spent) * cells / 60:.0f} minutes left"


def _drop_weights(folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)
    for name in ("model.safetensors", "training_args.bin", "tokenizer.json"):
        (folder / name).unlink(missing_ok=True)
