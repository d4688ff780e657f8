"""The folder of a run: its files, the checkpoint to resume from, and its end in one piece."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zlpr_hf.data.seen_texts import SEEN_FILE
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import part_of
from zlpr_hf.models.paths import is_local, resolve_model_path
from zlpr_hf.training.checkpoints import (
    OLD_FOLDER,
    find_checkpoints,
    find_damage,
    find_whole_checkpoint,
)
from zlpr_hf.workflows.model_arguments import ModelArguments

RESULTS_FILE = "results.json"
CONFIG_FILE = "train_config.yaml"
PROFILE_FILE = "data_profile.json"
LOGITS_FILE = "logits.npz"
OUT_OF_FOLD_FILE = "out_of_fold.npz"
REPORT_FILE = "report.html"
CARD_FILES = ("README.md", "labels.svg")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MODEL_FILES = ("config.json", "model.safetensors", RESULTS_FILE)
RUN_FILES = (
    *MODEL_FILES, *ADAPTER_FILES, *CARD_FILES, CONFIG_FILE, PROFILE_FILE, LOGITS_FILE,
    OUT_OF_FOLD_FILE, REPORT_FILE, SEEN_FILE,
)  # fmt: skip
FOLDS_FOLDER = "folds"
"""Holds the folds of a cross-fitted run until its end."""
END_FOLDER = "part-end"
"""Collects the files of a finished run until all are written."""
CLEARING_FILE = "part-clearing"
"""Marks an earlier run that is being removed, so that its checkpoints are not used."""


def find_resume_checkpoint(
    output_dir: Path, wanted: str | None, *, overwrite: bool, only_model: bool = False
) -> Path | None:
    """Return the checkpoint where training starts, or None to start from the beginning.

    Nothing is written. ``wanted`` is ``--resume_from_checkpoint``: None or ``false``, ``true`` for
    the newest whole checkpoint in ``output_dir``, or a folder. With ``overwrite``, an existing
    model may be replaced; for ``only_model`` see :func:`find_damage`.

    Raises:
        InputError: If the wanted folder is not a whole checkpoint, or ``output_dir`` is taken.
    """
    wanted = "false" if wanted is None else str(wanted)
    checkpoints = find_checkpoints(output_dir)
    taken = [output_dir / name for name in MODEL_FILES if (output_dir / name).exists()]
    found: Path | None = None
    if wanted.lower() == "true":
        if not (output_dir / CLEARING_FILE).exists():
            found = find_whole_checkpoint(output_dir, only_model=only_model)
        if found is None and is_unfinished(output_dir):
            taken = []  # a run that was killed at its start or its end
    elif wanted.lower() == "false":
        taken += checkpoints
    else:
        found = Path(wanted)
        damage = find_damage(found, only_model=only_model)
        if damage is not None:
            raise InputError(f"{wanted}: not a whole checkpoint, {damage} (resume_from_checkpoint)")
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir} is a file; expected a folder (output_dir)")
    resumes_here = found is not None and found.resolve().parent == output_dir.resolve()
    if taken and not overwrite and not resumes_here:
        raise InputError(
            f"{output_dir} already holds a run ({taken[0].name}): add --resume_from_checkpoint "
            "true to resume from its last checkpoint, --overwrite_output_dir true to replace it, "
            "or choose another --output_dir"
        )
    return found


def is_unfinished(output_dir: Path) -> bool:
    """Whether a run has begun here without reaching its end, or is being removed."""
    # A run writes its configuration first and its results last.
    begun = (output_dir / CONFIG_FILE).exists() and not (output_dir / RESULTS_FILE).exists()
    return begun or (output_dir / CLEARING_FILE).exists()


def clear_run(output_dir: Path, *, keep_folds: bool = False) -> None:
    """Remove the files of an earlier run, so that they are not mixed with the new ones.

    Files that no run writes stay, and finished folds if they are to be kept.
    """
    (output_dir / CLEARING_FILE).touch()
    for name in (END_FOLDER, OLD_FOLDER, *([] if keep_folds else [FOLDS_FOLDER])):
        shutil.rmtree(output_dir / name, ignore_errors=True)
    for folder in find_checkpoints(output_dir):
        shutil.rmtree(folder)
    for name in RUN_FILES:
        (output_dir / name).unlink(missing_ok=True)
        part_of(output_dir / name).unlink(missing_ok=True)
    (output_dir / CLEARING_FILE).unlink()


def check_models_stay(arguments: ModelArguments, output_dir: Path, *, has_folds: bool) -> None:
    """Refuse models that are read again after the run has cleared its folder."""
    if has_folds and _is_removed(arguments.model_name_or_path, output_dir):
        raise InputError(
            f"output_dir: the run would remove {arguments.model_name_or_path}, which each fold "
            "starts from; choose another output_dir, or set folds 0"
        )
    teacher = arguments.teacher_model_name_or_path
    if teacher and _is_removed(teacher, output_dir):
        raise InputError(
            f"output_dir: the run would remove its teacher {teacher}; choose another output_dir"
        )


def _is_removed(model: str, output_dir: Path) -> bool:
    """Return whether :func:`clear_run` removes a model."""
    if not is_local(model):
        return False
    folder = Path(resolve_model_path(model)).resolve()
    names = (END_FOLDER, OLD_FOLDER, FOLDS_FOLDER)
    parts = (*(output_dir / name for name in names), *find_checkpoints(output_dir))
    return folder == output_dir.resolve() or any(
        folder.is_relative_to(part.resolve()) for part in parts
    )


def clear_leftovers(output_dir: Path) -> None:
    """Remove the half-written files of a killed run before it resumes.

    A checkpoint that lacks only the optimizer's state stays: it may have been saved without. So do
    checkpoints with folders inside, which several processes have written.
    """
    for name in (END_FOLDER, OLD_FOLDER):
        shutil.rmtree(output_dir / name, ignore_errors=True)
    for folder in find_checkpoints(output_dir):
        flat = not any(path.is_dir() for path in folder.iterdir())
        if flat and find_damage(folder, only_model=True) is not None:
            shutil.rmtree(folder)


@contextmanager
def run_end(output_dir: Path, *, is_main: bool) -> Iterator[Path]:
    """Yield a folder for the final files of a run, and move them to their place once complete.

    Until then the folder of the run keeps its earlier files. A model in it can be loaded at any
    moment, or has no configuration; ``results.json`` marks the run as finished, and comes last.
    Only the main process (``is_main``) moves files.
    """
    part = output_dir / END_FOLDER
    try:
        yield part
        if is_main:
            order = ("config.json", RESULTS_FILE)
            for name in reversed(order):
                (output_dir / name).unlink(missing_ok=True)
            names = sorted(path.name for path in part.iterdir() if path.name not in order)
            for name in (*names, *order):
                os.replace(part / name, output_dir / name)
            shutil.rmtree(output_dir / FOLDS_FOLDER, ignore_errors=True)
    finally:
        if is_main:
            shutil.rmtree(part, ignore_errors=True)
