"""DataProfile: what a data set looks like before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from datasets import Dataset

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.files.atomic import write_whole

RAREST_SHOWN = 5


@dataclass(frozen=True)
class SplitProfile:
    """Counts of one split; soft labels count from 0.5 on.

    Of training rows that are streamed, ``truncated`` is that of a sample, and ``repeated_texts``,
    for which all texts would have to be held, is None.
    """

    rows: int
    cardinality: float
    density: float
    empty_rows: int
    unknown_cells: int
    truncated: float
    repeated_texts: int | None
    label_counts: dict[str, int]


@dataclass(frozen=True)
class DataProfile:
    """Profiles of all splits, and the texts that occur in more than one.

    Args:
        splits: Split name to its counts.
        shared_texts: ``validation in train`` and so on: rows whose text is also there.
        dropped_labels: Labels left out since training has none, with their count.
    """

    splits: dict[str, SplitProfile]
    shared_texts: dict[str, int]
    dropped_labels: dict[str, int]

    def save(self, path: Path) -> None:
        """Write the profile as JSON, whole or not at all.

        Args:
            path: The file.
        """
        write_whole(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def render(self) -> str:
        """A few lines for people."""
        lines = [
            f"{'split':<12}{'rows':>9}{'labels/row':>12}{'density':>9}{'no label':>10}"
            f"{'truncated':>11}"
        ]
        for name, split in self.splits.items():
            lines.append(
                f"{name:<12}{split.rows:>9,}{split.cardinality:>12.2f}{split.density:>9.3f}"
                f"{split.empty_rows:>10,}{split.truncated:>11.1%}"
            )
        return "\n".join([*lines, *self.notes()])

    def notes(self) -> list[str]:
        """Return lines about rare, missing and unknown labels, and about repeated texts."""
        counts = self.splits["train"].label_counts
        rarest = sorted(counts, key=lambda name: counts[name])[:RAREST_SHOWN]
        lines = [
            f"{len(counts)} labels; rarest in train: "
            + ", ".join(f"{name} ({counts[name]})" for name in rarest)
        ]
        for name, split in self.splits.items():
            missing = [label for label, count in split.label_counts.items() if count == 0]
            if missing:
                lines.append(
                    f"labels without a row in {name}: {len(missing)} "
                    f"({', '.join(missing[:RAREST_SHOWN])})"
                )
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


def compute_streamed_profile(
    data: StreamedData, encoded: Mapping[str, Dataset], sample: Dataset
) -> DataProfile:
    """Profile a data set whose training rows are streamed.

    Args:
        data: Texts and labels, and the counts of the training rows.
        encoded: Validation and test after :func:`zlpr_hf.data.encoding.encode`.
        sample: The same of some training rows.

    Returns:
        The profile.
    """
    held, scan = compute_profile(data, encoded), data.scan
    cardinality = scan.label_counts.total() / scan.rows
    train = SplitProfile(
        rows=scan.rows,
        cardinality=cardinality,
        density=cardinality / data.label_space.num_labels,
        empty_rows=scan.empty_rows,
        unknown_cells=scan.unknown_cells,
        truncated=float(np.mean(sample["truncated"])),
        repeated_texts=None,
        label_counts={name: scan.label_counts[name] for name in data.label_space.names},
    )
    shared = {
        f"in {name} and train": sum(text in scan.shared for text in data.texts(name))
        for name in data.splits
    }
    splits = {"train": train, **held.splits}
    return DataProfile(splits, shared | held.shared_texts, held.dropped_labels)


def compute_profile(data: LabelledData, encoded: Mapping[str, Dataset]) -> DataProfile:
    """Profile the splits of a data set.

    Args:
        data: Texts and labels.
        encoded: The same splits after :func:`zlpr_hf.data.encoding.encode`.

    Returns:
        The profile.
    """
    splits: dict[str, SplitProfile] = {}
    texts: dict[str, list[tuple[str, ...]]] = {}
    for name, rows in data.splits.items():
        columns = [rows[column] for column in ("text", "text_pair") if column in rows.column_names]
        texts[name] = list(zip(*columns, strict=True))
        sizes = [len(ids) for ids in rows["label_ids"]]
        ids = np.fromiter(chain.from_iterable(rows["label_ids"]), np.int64)
        values = np.fromiter(chain.from_iterable(rows["label_values"]), np.float32)
        present = values >= 0.5
        counts = np.bincount(ids[present], minlength=data.label_space.num_labels)
        labelled = np.repeat(np.arange(len(sizes)), sizes)[present]
        cardinality = float(counts.sum() / len(rows))
        splits[name] = SplitProfile(
            rows=len(rows),
            cardinality=cardinality,
            density=cardinality / data.label_space.num_labels,
            empty_rows=len(rows) - len(np.unique(labelled)),
            unknown_cells=int(np.isnan(values).sum()),
            truncated=float(np.mean(encoded[name]["truncated"])),
            repeated_texts=len(texts[name]) - len(set(texts[name])),
            label_counts=dict(zip(data.label_space.names, counts.tolist(), strict=True)),
        )
    shared: dict[str, int] = {}
    names = list(splits)
    for position, name in enumerate(names):
        for earlier in names[:position]:
            known = set(texts[earlier])
            shared[f"in {name} and {earlier}"] = sum(text in known for text in texts[name])
    return DataProfile(splits, shared, data.dropped)
