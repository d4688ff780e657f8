"""StreamedData: training rows that stay where they are, and what one pass over them found."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from datasets import Dataset, DatasetDict

from zlpr_hf.data.dataset import LabelledData, handle_unseen, read_texts, to_dataset
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.streaming.batches import TextStream
from zlpr_hf.data.streaming.row_stream import RowStream
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

SAMPLE_ROWS = 512
MAX_LABEL_SETS = 10_000
"""Different label sets that are counted; where there are more, none is frequent."""


@dataclass
class Scan:
    """What one pass over the training rows found; it holds none but a sample of them.

    Args:
        rows: How many there are.
        label_counts: Rows with each label; soft labels count from 0.5 on.
        empty_rows: Rows without a label.
        unknown_cells: Labels that nobody has judged.
        is_hard: Whether every label is known, and there or not.
        label_sets: Rows with each set of labels; None where there are too many sets.
        sample: Texts of some rows, each as likely as the others.
        shared: Training texts that were looked for and found.
        fingerprint: Of texts and labels of all rows, in their order.
    """

    rows: int = 0
    label_counts: Counter[str] = field(default_factory=Counter)
    empty_rows: int = 0
    unknown_cells: int = 0
    is_hard: bool = True
    label_sets: Counter[frozenset[str]] | None = field(default_factory=Counter)
    sample: list[tuple[str, ...]] = field(default_factory=list)
    shared: set[tuple[str, ...]] = field(default_factory=set)
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamedData(LabelledData):
    """Validation and test rows as always; of the training rows the stream and the counts.

    Args:
        stream: The training rows.
        scan: What is known about them.
    """

    stream: TextStream
    scan: Scan

    @property
    def is_hard(self) -> bool:
        """Whether every label is known, and there or not."""
        return self.scan.is_hard and super().is_hard

    def fingerprints(self) -> dict[str, str]:
        """What is in the rows of each split; in the training rows as the pass over them saw it."""
        return {"train": self.scan.fingerprint} | super().fingerprints()


def scan_rows(stream: TextStream, look_for: Collection[tuple[str, ...]]) -> tuple[Scan, set[str]]:
    """Read all rows once, and check them.

    Args:
        stream: The training rows.
        look_for: Texts of validation and test.

    Returns:
        What was found, and all names of labels.

    Raises:
        InputError: If a row is wrong; with the row.
    """
    scan, names, digest = Scan(), set[str](), hashlib.sha256()
    choice = random.Random(0)
    for row in stream:
        scan.rows += 1
        labels = stream.labels.cell(row.cell, row.number)
        names.update(labels)
        digest.update(json.dumps([row.texts, labels]).encode("ascii"))
        present = frozenset(name for name, value in labels.items() if value >= 0.5)
        scan.label_counts.update(present)
        scan.empty_rows += not present
        scan.unknown_cells += sum(map(math.isnan, labels.values()))
        scan.is_hard &= set(labels.values()) <= {1.0}
        if scan.label_sets is not None:
            scan.label_sets[present] += 1
            if len(scan.label_sets) > MAX_LABEL_SETS:
                scan.label_sets = None
        if row.texts in look_for:
            scan.shared.add(row.texts)
        # Reservoir sampling: each row so far is in the sample with the same chance.
        if len(scan.sample) < SAMPLE_ROWS:
            scan.sample.append(row.texts)
        elif (place := choice.randrange(scan.rows)) < SAMPLE_ROWS:
            scan.sample[place] = row.texts
    scan.fingerprint = digest.hexdigest()
    return scan, names


def build_streamed_data(
    rows: RowStream,
    held: Mapping[str, Dataset],
    origins: Mapping[str, str],
    labels: LabelColumns,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    unseen_labels: str = "error",
) -> StreamedData:
    """Check all rows, count what is in the training rows, and fit the label space.

    Args:
        rows: The training rows.
        held: Validation and test rows, as they were stored.
        origins: Split name to file or data set, for messages.
        labels: Where and how all of them keep their labels.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for pairs.
        unseen_labels: ``error`` or ``drop``: what to do with labels outside the training rows.

    Returns:
        The data; of the training rows a sample is held.

    Raises:
        InputError: If validation or test is missing, a column is, a row is wrong, or a label is
            unseen in training.
    """
    if unseen_labels not in ("error", "drop"):
        raise InputError(f"unseen_labels: expected error or drop, got {unseen_labels!r}")
    for split in ("validation", "test"):
        if split not in held:
            raise InputError(
                f"streaming: nothing can be split off rows that are not held; give the {split} "
                f"rows as {split}_file, or take a data set that has them"
            )
    labels.check_apart(text_column, text_pair_column)
    text_columns = tuple(name for name in (text_column, text_pair_column) if name)
    first = next(iter(rows), None)
    if first is None:
        raise InputError(f"{rows.origin}: there are no rows")
    reader = labels.reader(rows.features, first, rows.origin)
    columns, found = {}, {}
    for split in ("validation", "test"):
        texts = [read_texts(held[split], name, origins[split]) for name in text_columns]
        columns[split] = dict(zip(("text", "text_pair"), texts, strict=False))
        declared, found[split] = labels.read(held[split], origins[split])
        if declared != reader.names:
            raise InputError(f"{origins[split]}: its labels are not those of {rows.origin}")
    stream = TextStream(rows, text_columns, reader)
    look_for = {text for split in columns.values() for text in zip(*split.values(), strict=True)}
    scan, names = scan_rows(stream, look_for)
    if reader.form == "delimited":
        several = scan.label_counts.total() > scan.rows - scan.empty_rows
        labels.check_delimiter(several, rows.origin)
    space = LabelSpace(tuple(sorted(names)) if reader.names is None else reader.names)
    dropped = handle_unseen(found, space, unseen_labels, dict(origins))
    splits = {split: to_dataset(columns[split], found[split], space) for split in columns}
    return StreamedData(
        splits=DatasetDict(splits), label_space=space, dropped=dropped, stream=stream, scan=scan
    )
