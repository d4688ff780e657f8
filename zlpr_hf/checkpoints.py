"""The folder of a run: whether it may be written to, and which checkpoint to go on from."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zlpr_hf.errors import InputError

RESULTS_FILE = "results.json"
CONFIG_FILE = "train_config.yaml"
PROFILE_FILE = "data_profile.json"


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
    if wanted is None or wanted.lower() == "false":
        taken = [path for path in output_dir.glob("checkpoint-*") if path.is_dir()]
        taken += [path for path in (output_dir / "config.json",) if path.exists()]
        if taken and not overwrite:
            raise InputError(
                f"{output_dir} already holds a run ({taken[0].name}): add --resume_from_checkpoint "
                "true to go on, --overwrite_output_dir true to replace it, or choose another "
                "--output_dir"
            )
        return None
    if wanted.lower() != "true":
        if not is_whole_checkpoint(Path(wanted)):
            raise InputError(f"{wanted}: not a whole checkpoint (resume_from_checkpoint)")
        return Path(wanted)
    found = [
        (int(match.group(1)), path)
        for path in output_dir.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and is_whole_checkpoint(path)
    ]
    return max(found)[1] if found else None


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
