"""Checkpoints of the trainer: finding them, telling whole ones, and removing old ones."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

logger = logging.getLogger(__name__)

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
TRAINING_WEIGHTS_FILE = "training_weights.safetensors"
"""Weights of the last step in a checkpoint whose model has averaged ones."""
UNFINISHED_FILE = "part-checkpoint"
"""Lies in a checkpoint until all of its files are written."""
OLD_FOLDER = "part-old"
"""A checkpoint while it is being removed."""


def find_checkpoints(output_dir: Path) -> list[Path]:
    """Return the checkpoint folders of the trainer, oldest first; others may have similar names."""
    found = [
        (int(match.group(1)), path)
        for path in output_dir.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found)]


def find_whole_checkpoint(output_dir: Path, *, only_model: bool = False) -> Path | None:
    """Return the newest checkpoint that a run can resume from; damaged ones are logged."""
    for path in reversed(find_checkpoints(output_dir)):
        damage = find_damage(path, only_model=only_model)
        if damage is None:
            return path
        logger.warning("%s: skipped, %s", path, damage)
    return None


def check_same_task(checkpoint: Path, label_space: LabelSpace, num_hidden_layers: int) -> None:
    """Refuse to resume from a whole checkpoint of other labels or another encoder.

    Raises:
        InputError: If labels or the number of layers differ.
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
            "(model_name_or_path, pooling, keep_layers)"
        )


def remove_old_checkpoints(output_dir: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints, each at once, by renaming it first.

    At most ``limit`` stay; None or 0 keeps all. The newest one and ``best`` always stay.
    """
    found = find_checkpoints(output_dir)
    removable = [path for path in found[:-1] if best is None or path != Path(best)]
    for path in removable[: max(0, len(found) - limit)] if limit else ():
        shutil.rmtree(output_dir / OLD_FOLDER, ignore_errors=True)
        os.replace(path, output_dir / OLD_FOLDER)
        shutil.rmtree(output_dir / OLD_FOLDER, ignore_errors=True)


def find_damage(folder: Path, *, only_model: bool = False) -> str | None:
    """Return the first thing a ``checkpoint-N`` folder lacks to resume from it; None if whole.

    With ``only_model``, checkpoints hold no state of the optimizer (``save_only_model``).
    """
    try:
        if (folder / UNFINISHED_FILE).exists():
            raise ValueError("it was not saved to its end")
        for name in ("trainer_state.json", "config.json"):
            _read_json(folder / name)
        found = [name for name in WEIGHTS if (folder / name).exists()]
        if not found:
            raise ValueError("model.safetensors is missing")
        files = [folder / found[0]]
        if files[0].suffix == ".json":
            parts = set(_read_json(files[0])["weight_map"].values())
            files = [folder / name for name in sorted(parts)]
        if (folder / TRAINING_WEIGHTS_FILE).exists():
            files.append(folder / TRAINING_WEIGHTS_FILE)
        for path in files:
            _check_safetensors(path)
        if not only_model:
            # Libraries that shard a model over processes keep its optimizer in folders.
            sharded = any(path.is_dir() for path in folder.iterdir())
            states = [] if sharded else [folder / "optimizer.pt", folder / "scheduler.pt"]
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
    """Compare the length of the file with the one its header implies."""
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
