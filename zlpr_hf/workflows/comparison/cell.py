"""Cell: one run of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zlpr_hf.files.arrays import read_arrays
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.comparison.variants import Variant
from zlpr_hf.workflows.output_dir import LOGITS_FILE


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: a loss on a dataset with a seed, and with the setting of a trial of ``search``."""

    dataset: str
    loss: str
    seed: int
    config: RunConfig
    variant: Variant | None = None
    search: bool = True
    trial: int | None = None

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(str(self.config.training.output_dir))

    def read_logits(self) -> dict[str, NDArray[Any]]:
        """Return the saved logits and targets of the finished run, by split.

        Raises:
            InputError: If the file is damaged.
        """
        remedy = f"remove {self.folder} to run it again"
        return read_arrays(self.folder / LOGITS_FILE, remedy=remedy)

    def __str__(self) -> str:
        trial = "" if self.trial is None else f" · trial {self.trial}"
        return f"{self.dataset} · {self.loss} · seed {self.seed}{trial}"
