"""The folder of a run: whether it may be written to, and which checkpoint to go on from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from zlpr_hf.errors import InputError
from zlpr_hf.label_space import LabelSpace

RESULTS_FILE = "results.json"
CONFIG_FILE = "train_config.yaml"
PROFILE_FILE = "data_profile.json"
LOGITS_FILE = "logits.npz"
REPORT_FILE = "report.html"
CARD_FILES = ("README.md", "labels.svg")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MODEL_FILES = ("config.json", "model.safetensors", RESULTS_FILE)


def find_resume_checkpoint(output_dir: Path, wanted: str | None, *, overwrite: bool) -> Path | None:
    """Decide where training starts, before anything is read or written.

    Args:
        output_dir: Folder of the run.
        wanted: ``--resume_from_checkpoint``: None or ``false``, ``true`` for the newest whole one
            in ``output_dir``, or a folder.
        overwrite: Whether a model that is there may be replaced.

    Returns:
        The checkpoint, or None to start from the beginning.

    Raises:
        InputError: If the wanted folder is no checkpoint, or ``output_dir`` is taken.
    """
    wanted = "false" if wanted is None else str(wanted)
    runs = _checkpoints(output_dir)
    taken = [output_dir / name for name in MODEL_FILES if (output_dir / name).exists()]
    found: Path | None = None
    if wanted.lower() == "true":
        whole = [path for path in runs if is_whole_checkpoint(path)]
        found = whole[-1] if whole else None
    elif wanted.lower() == "false":
        taken += runs
    else:
        found = Path(wanted)
        if not is_whole_checkpoint(found):
            raise InputError(f"{wanted}: not a whole checkpoint (resume_from_checkpoint)")
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


def _checkpoints(output_dir: Path) -> list[Path]:
    """The folders that the trainer writes, oldest first; others may be called alike."""
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


def clear_run(output_dir: Path) -> None:
    """Remove an earlier run, so that nobody goes on from it or takes its numbers for the new ones.

    Args:
        output_dir: Folder of the run; files that no run writes stay.
    """
    for folder in _checkpoints(output_dir):
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


def is_whole_checkpoint(folder: Path) -> bool:
    """Whether a checkpoint was written to its end; the trainer's state is written last.

    Args:
        folder: A ``checkpoint-N`` folder.

    Returns:
        False for one whose writing was cut off.
    """
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
    return any((folder / name).exists() for name in weights)
