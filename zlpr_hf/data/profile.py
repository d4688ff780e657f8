"""DataProfile: counts of a data set before training."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.files.atomic import write_json
from zlpr_hf.labels import known_mask

RAREST_SHOWN = 5
WIDTH = 80


@dataclass(frozen=True)
class SplitProfile:
    """Counts of one split; soft labels count from 0.5.

    Cardinality is the mean number of labels of the rows with a known label, density the share of
    the known cells that are present. Empty rows are known to have no label. ``unjudged_rows`` is
    the number of rows without a known label, ``unjudged_labels`` the labels that no row knows.

    For streamed training rows, ``truncated`` comes from a sample, and ``repeated_texts`` is None
    because it would need all texts in memory.
    """

    rows: int
    cardinality: float
    density: float
    empty_rows: int
    unknown_cells: int
    truncated: float
    repeated_texts: int | None
    label_counts: dict[str, int]
    unjudged_rows: int = 0
    unjudged_labels: Sequence[str] = ()

    @property
    def judged_counts(self) -> dict[str, int]:
        """Rows per label, without the labels that no row knows."""
        unjudged = set(self.unjudged_labels)
        return {name: count for name, count in self.label_counts.items() if name not in unjudged}


@dataclass(frozen=True)
class DataProfile:
    """Profiles of all splits, with counts of texts that two splits share and of dropped labels.

    ``reading`` says how the training rows were read; see :class:`zlpr_hf.data.reading.Reading`.
    """

    splits: dict[str, SplitProfile]
    shared_texts: dict[str, int]
    dropped_labels: dict[str, int]
    reading: Mapping[str, Any] = field(default_factory=dict)

    def tested(self) -> SplitProfile:
        """Return the profile of the rows of the test metrics: all rows of a cross-fitted run."""
        return self.splits.get("test", self.splits["train"])

    def save(self, path: Path) -> None:
        """Write the profile to a JSON file."""
        write_json(path, asdict(self))

    def render(self) -> str:
        """Return the profile as a table with notes, in lines of up to 80 columns."""
        lines = [
            f"{'split':<12}{'rows':>9}{'labels/row':>12}{'density':>9}{'no label':>10}"
            f"{'truncated':>11}"
        ]
        for name, split in self.splits.items():
            lines.append(
                f"{name:<12}{split.rows:>9,}{split.cardinality:>12.2f}{split.density:>9.3f}"
                f"{split.empty_rows:>10,}{split.truncated:>11.1%}"
            )
        return "\n".join([*lines, *map(_wrap, self.notes())])

    def notes(self) -> list[str]:
        """Return lines about rare, missing and unknown labels, and about repeated texts."""
        counts = self.splits["train"].label_counts
        rarest = sorted(counts, key=lambda name: counts[name])[:RAREST_SHOWN]
        lines = [
            f"{len(counts)} labels; rarest in train: "
            + ", ".join(f"{name} ({counts[name]})" for name in rarest)
        ]
        for name, split in self.splits.items():
            missing = [label for label, count in split.judged_counts.items() if count == 0]
            for kind, labels in (
                ("without a row", missing),
                ("that no row knows", split.unjudged_labels),
            ):
                if labels:
                    lines.append(
                        f"labels {kind} in {name}: {len(labels)} "
                        f"({', '.join(labels[:RAREST_SHOWN])})"
                    )
            if split.unjudged_rows:
                lines.append(f"rows without a known label in {name}: {split.unjudged_rows:,}")
        unknown = {name: split.unknown_cells for name, split in self.splits.items()}
        if any(unknown.values()):
            cells = ", ".join(f"{count:,} in {name}" for name, count in unknown.items())
            lines.append(f"labels not known: {cells}")
        lines += [
            f"same text {where}: {count} rows"
            for where, count in self.shared_texts.items()
            if count
        ]
        lines += [
            f"label {name!r} dropped from {count} rows"
            for name, count in self.dropped_labels.items()
        ]
        return [" ".join(line.split()) for line in lines]  # a label may hold a line break


def _wrap(line: str) -> str:
    return textwrap.fill(
        line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def compute_streamed_profile(
    data: StreamedData, encoded: Mapping[str, Dataset], sample: Dataset
) -> DataProfile:
    """Profile data with streamed training rows, of which only a sample is encoded."""
    held, scan = compute_profile(data, encoded), data.scan
    names, total = data.label_space.names, scan.label_counts.total()
    unjudged_rows = scan.rows_per_unknown[len(names)]
    train = SplitProfile(
        rows=scan.rows,
        cardinality=_divide(total, scan.rows - unjudged_rows),
        density=_divide(total, scan.rows * len(names) - scan.unknown_cells),
        empty_rows=scan.empty_rows,
        unknown_cells=scan.unknown_cells,
        truncated=float(np.mean(sample["truncated"])),
        repeated_texts=None,
        label_counts={name: scan.label_counts[name] for name in names},
        unjudged_rows=unjudged_rows,
        unjudged_labels=[name for name in names if scan.unknown_counts[name] == scan.rows],
    )
    shared = {
        f"in {name} and train": sum(text in scan.shared for text in data.texts(name))
        for name in data.splits
    }
    splits = {"train": train, **held.splits}
    return DataProfile(splits, shared | held.shared_texts, held.dropped_labels, held.reading)


def compute_profile(data: LabelledData, encoded: Mapping[str, Dataset]) -> DataProfile:
    """Profile splits, given texts with labels, and the same splits after ``encode``."""
    splits: dict[str, SplitProfile] = {}
    texts: dict[str, list[tuple[str, ...]]] = {}
    for name, rows in data.splits.items():
        texts[name] = data.texts(name)
        sizes = [len(ids) for ids in rows["label_ids"]]
        ids = np.fromiter(chain.from_iterable(rows["label_ids"]), np.int64)
        values = np.fromiter(chain.from_iterable(rows["label_values"]), np.float32)
        present, unknown = values >= 0.5, ~known_mask(values)
        names = data.label_space.names
        counts, unknown_counts = (
            np.bincount(ids[cells], minlength=len(names)) for cells in (present, unknown)
        )
        row_of_cell = np.repeat(np.arange(len(sizes)), sizes)
        unknown_per_row = np.bincount(row_of_cell[unknown], minlength=len(rows))
        unjudged_rows = int((unknown_per_row == len(names)).sum())
        splits[name] = SplitProfile(
            rows=len(rows),
            cardinality=_divide(int(counts.sum()), len(rows) - unjudged_rows),
            density=_divide(int(counts.sum()), len(rows) * len(names) - int(unknown.sum())),
            empty_rows=len(rows) - len(np.unique(row_of_cell[present | unknown])),
            unknown_cells=int(unknown.sum()),
            truncated=float(np.mean(encoded[name]["truncated"])),
            repeated_texts=len(texts[name]) - len(set(texts[name])),
            label_counts=dict(zip(names, counts.tolist(), strict=True)),
            unjudged_rows=unjudged_rows,
            unjudged_labels=[names[i] for i in np.flatnonzero(unknown_counts == len(rows))],
        )
    shared: dict[str, int] = {}
    for earlier, name in combinations(splits, 2):
        known = set(texts[earlier])
        shared[f"in {name} and {earlier}"] = sum(text in known for text in texts[name])
    reading = {} if data.reading is None else data.reading.facts()
    return DataProfile(splits, shared, data.dropped, reading)


def _divide(total: int, count: int) -> float:
    """Return a mean; 0 if there is nothing to count."""
    return total / count if count else 0.0
