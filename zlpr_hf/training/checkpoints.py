"""The folder of a run: whether it may be written to, and which checkpoint to go on from."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import part_of
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)

RESULTS_FILE = "results.json"
CONFIG_FILE = "train_config.yaml"
PROFILE_FILE = "data_profile.json"
LOGITS_FILE = "logits.npz"
REPORT_FILE = "report.html"
CARD_FILES = ("README.md", "labels.svg")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MODEL_FILES = ("config.json", "model.safetensors", RESULTS_FILE)
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
END_FOLDER, OLD_FOLDER, CLEARING_FILE = "part-end", "part-old", "part-clearing"
"""What a run leaves at its end, while it is being written; a checkpoint that is being removed; and
a sign that an earlier run is being removed, so that its checkpoints are nobody's."""


def find_resume_checkpoint(
    output_dir: Path, wanted: str | None, *, overwrite: bool, only_model: bool = False
) -> Path | None:
    """Decide where training starts, before anything is read or written.

    Args:
        output_dir: Folder of the run.
        wanted: ``--resume_from_checkpoint``: None or ``false``, ``true`` for the newest whole one
            in ``output_dir``, or a folder.
        overwrite: Whether a model that is there may be replaced.
        only_model: As of :func:`find_damage`.

    Returns:
        The checkpoint, or None to start from the beginning.

    Raises:
        InputError: If the wanted folder is no checkpoint, or ``output_dir`` is taken.
    """
    wanted = "false" if wanted is None else str(wanted)
    runs = find_checkpoints(output_dir)
    taken = [output_dir / name for name in MODEL_FILES if (output_dir / name).exists()]
    found: Path | None = None
    if wanted.lower() == "true":
        if (output_dir / CLEARING_FILE).exists():
            runs = []
        for path in reversed(runs):
            damage = find_damage(path, only_model=only_model)
            if damage is None:
                found = path
                break
            logger.warning("%s: passed over, %s", path, damage)
        if found is None and is_unfinished(output_dir):
            taken = []  # what was killed on its way in, or out
    elif wanted.lower() == "false":
        taken += runs
    else:
        found = Path(wanted)
        damage = find_damage(found, only_model=only_model)
        if damage is not None:
            raise InputError(f"{wanted}: not a whole checkpoint, {damage} (resume_from_checkpoint)")
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir} is a file; expected a folder (output_dir)")
    goes_on_here = found is not None and found.resolve().parent == output_dir.resolve()
    if taken and not overwrite and not goes_on_here:
        raise InputError(
            f"{output_dir} already holds a run ({taken[0].name}): add --resume_from_checkpoint "
            "true to go on from its last checkpoint, --overwrite_output_dir true to replace it, "
            "or choose another --output_dir"
        )
    return found


def find_checkpoints(output_dir: Path) -> list[Path]:
    """The folders that the trainer writes, oldest first; others may be called alike.

    Args:
        output_dir: Folder of a run.
    """
    found = [
        (int(match.group(1)), path)
        for path in output_dir.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found)]


def check_same_task(checkpoint: Path, label_space: LabelSpace, num_hidden_layers: int) -> None:
    """Refuse to go on from a checkpoint of other labels or another encoder.

    Args:
        checkpoint: A whole checkpoint.
        label_space: The labels of the data.
        num_hidden_layers: Depth of the model that is to go on.

    Raises:
        InputError: If they differ.
    """
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    stored = config.get("id2label", {})
    names = tuple(stored[key] for key in sorted(stored, key=int))
    if names != label_space.names:
        raise InputError(
            f"{checkpoint}: trained for other labels ({len(names)}) than those of the data "
            f"({label_space.num_labels}: {label_space.summary()})"
        )
    depth = config.get("num_hidden_layers", num_hidden_layers)
    if depth != num_hidden_layers:
        raise InputError(
            f"{checkpoint}: its encoder has {depth} layers, this one {num_hidden_layers} "
            "(model_name_or_path, pooling)"
        )


def is_unfinished(output_dir: Path) -> bool:
    """Whether a run was begun here and has not come to its end, or is being removed.

    Args:
        output_dir: Folder of a run, which writes its configuration first and its results last.
    """
    begun = (output_dir / CONFIG_FILE).exists() and not (output_dir / RESULTS_FILE).exists()
    return begun or (output_dir / CLEARING_FILE).exists()


def clear_run(output_dir: Path) -> None:
    """Remove an earlier run, so that nobody goes on from it or takes its numbers for the new ones.

    Args:
        output_dir: Folder of the run; files that no run writes stay.
    """
    (output_dir / CLEARING_FILE).touch()
    for name in (END_FOLDER, OLD_FOLDER):
        shutil.rmtree(output_dir / name, ignore_errors=True)
    for folder in find_checkpoints(output_dir):
        shutil.rmtree(folder)
    for name in (
        *MODEL_FILES,
        *ADAPTER_FILES,
        *CARD_FILES,
        CONFIG_FILE,
        PROFILE_FILE,
        LOGITS_FILE,
        REPORT_FILE,
    ):
        (output_dir / name).unlink(missing_ok=True)
        part_of(output_dir / name).unlink(missing_ok=True)
    (output_dir / CLEARING_FILE).unlink()


def clear_leftovers(output_dir: Path) -> None:
    """Remove what a killed run left half-written, so that it is not counted among the checkpoints.

    One with whole weights and the trainer's state, which is written last, stays: whoever lacks only
    the optimizer's state may have been saved without it.

    Args:
        output_dir: Folder of a run that goes on. Checkpoints with folders inside are no work of
            one process, and stay.
    """
    for name in (END_FOLDER, OLD_FOLDER):
        shutil.rmtree(output_dir / name, ignore_errors=True)
    for folder in find_checkpoints(output_dir):
        flat = not any(path.is_dir() for path in folder.iterdir())
        if flat and find_damage(folder, only_model=True) is not None:
            shutil.rmtree(folder)


def remove_old_checkpoints(output_dir: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints, each of them at once, by renaming it first.

    Args:
        output_dir: Folder of the run.
        limit: How many may stay; None or 0 for all. The newest one always stays.
        best: One that stays whatever its age.
    """
    found = find_checkpoints(output_dir)
    spare = [path for path in found[:-1] if best is None or path != Path(best)]
    for path in spare[: max(0, len(found) - limit)] if limit else ():
        shutil.rmtree(output_dir / OLD_FOLDER, ignore_errors=True)
        os.replace(path, output_dir / OLD_FOLDER)
        shutil.rmtree(output_dir / OLD_FOLDER, ignore_errors=True)


@contextmanager
def run_end(output_dir: Path, *, is_main: bool) -> Iterator[Path]:
    """Collect all that a run leaves at its end, and put it in its place when all of it is there.

    Until then the folder holds what it held before. A model that is there can be loaded at any
    moment, or has no configuration; ``results.json`` says that the run is finished, and comes last.

    Args:
        output_dir: Folder of the run.
        is_main: Whether this is the process that writes.

    Yields:
        The folder to fill.
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
    finally:
        if is_main:
            shutil.rmtree(part, ignore_errors=True)


def find_damage(folder: Path, *, only_model: bool = False) -> str | None:
    """What a checkpoint lacks to go on from it as if nothing had happened.

    The trainer's state is written last.

    Args:
        folder: A ``checkpoint-N`` folder.
        only_model: Whether checkpoints hold no state of the optimizer (``save_only_model``).

    Returns:
        What is wrong with it; None for a whole one.
    """
    try:
        for name in ("trainer_state.json", "config.json"):
            _read_json(folder / name)
        found = [name for name in WEIGHTS if (folder / name).exists()]
        if not found:
            raise ValueError("model.safetensors is missing")
        files = [folder / found[0]]
        if files[0].suffix == ".json":
            parts = set(_read_json(files[0])["weight_map"].values())
            files = [folder / name for name in sorted(parts)]
        for path in files:
            _check_safetensors(path)
        if not only_model:
            # Libraries that share a model out over processes keep its optimizer in folders.
            shared_out = any(path.is_dir() for path in folder.iterdir())
            states = [] if shared_out else [folder / "optimizer.pt", folder / "scheduler.pt"]
            for path in states + (
                list(folder.glob("rng_state*.pth")) or [folder / "rng_state.pth"]
            ):
                if not zipfile.is_zipfile(path):
                    raise ValueError(f"{path.name} is {'damaged' if path.exists() else 'missing'}")
    except (OSError, ValueError, KeyError) as error:
        missing = isinstance(error, FileNotFoundError) and error.filename
        return f"{Path(missing).name} is missing" if missing else str(error)
    return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged") from error


def _check_safetensors(path: Path) -> None:
    """Its header says how long the file is."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = path.stat().st_size
        try:
            header = json.loads(stream.read(length)) if length <= size else {}
            ends = [each["data_offsets"][1] for name, each in header.items() if name[0] != "_"]
        except ValueError:
            ends = []
    if not ends or 8 + length + max(ends) != size:
        raise ValueError(f"{path.name} is damaged")
