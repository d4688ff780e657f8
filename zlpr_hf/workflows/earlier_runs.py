"""EarlierRuns: the runs whose texts a new run knows, and what follows for its splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.seen_texts import SeenTexts
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.data_arguments import DataArguments

FEW_MEASURED_ROWS = 10
"""A validation or test split with fewer rows gets a warning."""


@dataclass(frozen=True)
class EarlierRuns:
    """Texts of the runs before this one.

    Args:
        source: The checkpoint or the model that training starts from.
        weights: Its texts, which the initial weights know.
        replaced: Texts of a run in the same folder that draws its splits alike.
        resumes: Whether ``source`` is a checkpoint of this run.
    """

    source: str
    weights: SeenTexts | None = None
    replaced: SeenTexts | None = None
    resumes: bool = False

    @classmethod
    def find(cls, config: RunConfig, checkpoint: Path | None = None) -> EarlierRuns:
        """Find the records of the initial weights and of the output folder."""
        source = config.model.model_name_or_path if checkpoint is None else str(checkpoint)
        replaced = SeenTexts.find(str(config.training.output_dir))
        if replaced is not None and not _draws_alike(replaced, config.data):
            replaced = None
        return cls(source, SeenTexts.find(source), replaced, checkpoint is not None)

    @property
    def known(self) -> list[SeenTexts]:
        """The runs whose rows keep their split; the first one counts."""
        return [run for run in (self.weights, self.replaced) if run is not None]

    @property
    def fold_blocker(self) -> SeenTexts | None:
        """The run whose texts are not cross-fitted by default, since the weights know them."""
        if self.resumes and self.weights is not None and "validation" not in self.weights.splits:
            return None
        return self.weights

    def find_warnings(self, data: LabelledData) -> list[str]:
        """Return one warning per split that earlier runs have seen or made too small."""
        return [*self.find_leaks(data), *self.find_small_splits(data)]

    def find_leaks(self, data: LabelledData) -> list[str]:
        """Return one warning per split whose texts the initial weights were trained on."""
        if self.weights is None:
            return []
        notes = []
        for split in ("validation", "test"):
            if self.resumes and data.split_of(split) == "train":
                continue  # its models are trained without the fold that they judge
            texts = data.texts(split)
            found = self.weights.count(texts)["train"]
            if found:
                notes.append(
                    f"{split}: {self.source} was trained on {found} of its {len(texts)} texts; the "
                    "metrics are too good for new texts"
                )
        return notes

    def find_small_splits(self, data: LabelledData) -> list[str]:
        """Return one warning per split that a trained model leaves too small to tell anything."""
        if self.weights is None or self.resumes:
            return []
        counts = {name: rows.num_rows for name, rows in data.splits.items() if name != "train"}
        return [
            f"the {name} split has only {count} rows, too few to measure quality: add rows, pass a "
            "larger split, or train a few hundred rows from the pretrained model in place of "
            f"{self.source}, so that they are cross-fitted"
            for name, count in counts.items()
            if count < FEW_MEASURED_ROWS
        ]

    def record(self, data: LabelledData, arguments: DataArguments, folder: Path) -> Iterator[str]:
        """Write the texts of the new run into its folder, and yield notes on them."""
        yield from (f"warning: {note}" for note in self.find_warnings(data))
        if isinstance(data, StreamedData):
            return
        seen = SeenTexts.from_data(data, _drawing(arguments), self.weights)
        if self.resumes and self.weights is not None:
            before, now = self.weights.splits["train"], seen.splits["train"]
            new, gone = len(np.setdiff1d(now, before)), len(np.setdiff1d(before, now))
            if new or gone:
                yield (
                    f"warning: the training rows differ from those of {self.source}: {new} texts "
                    f"are new, {gone} are missing"
                )
        seen.save(folder)


def _draws_alike(run: SeenTexts, arguments: DataArguments) -> bool:
    """Whether a run draws its splits as these arguments do.

    A cross-fitted run has no validation rows. If they are drawn now, all rows are free for it.
    """
    draws_validation = not arguments.folds and not arguments.validation_file
    return run.drawing == _drawing(arguments) and not (
        draws_validation and "validation" not in run.splits
    )


def _drawing(arguments: DataArguments) -> tuple[float, ...]:
    return (arguments.validation_size, arguments.test_size, float(arguments.split_seed))
