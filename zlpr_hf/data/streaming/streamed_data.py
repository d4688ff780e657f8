"""StreamedData: training rows that stay on disk, and counts from one pass over them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, DatasetDict

from zlpr_hf.choices import UnseenLabels
from zlpr_hf.data.columns import check_column
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.label_cells import RowLabels
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_counts import LabelCounts
from zlpr_hf.data.labelled_rows import read_splits
from zlpr_hf.data.lookalikes import warn_of_lookalikes
from zlpr_hf.data.reading import Reading
from zlpr_hf.data.streaming.batches import TextStream
from zlpr_hf.data.streaming.row_stream import RowStream
from zlpr_hf.data.unseen_labels import handle_unseen
from zlpr_hf.data.verdicts import find_streamed_columns
from zlpr_hf.errors import InputError
from zlpr_hf.labels import LabelSpace

SAMPLE_ROWS = 512
REMEMBERED_TEXTS = 20_000
MAX_LABEL_SETS = 10_000
"""Different label sets that are counted; with more than that, none is frequent."""


@dataclass
class Scan:
    """Counts from one pass over the training rows, and a sample of them.

    Args:
        rows: Number of rows.
        label_counts: Rows per label; soft labels count from 0.5.
        known_counts: Rows per label in which it is known and not 0.
        labelled_rows: Rows with a label.
        empty_rows: Rows that are known to have no label.
        unknown_counts: Rows per label in which it is unknown.
        rows_per_unknown: Rows per number of unknown labels.
        is_hard: Whether every label is known, and either 0 or 1.
        label_sets: Wholly known rows per set of labels; None if there are too many sets.
        sample: Texts of a uniform sample of the rows.
        shared: Training texts that are also in validation or test.
        fingerprint: SHA-256 of texts and labels of all rows, in their order.
        example: Number, texts and labels of the first row with a label.
    """

    rows: int = 0
    label_counts: Counter[str] = field(default_factory=Counter)
    known_counts: Counter[str] = field(default_factory=Counter)
    labelled_rows: int = 0
    empty_rows: int = 0
    unknown_counts: Counter[str] = field(default_factory=Counter)
    rows_per_unknown: Counter[int] = field(default_factory=Counter)
    is_hard: bool = True
    label_sets: Counter[frozenset[str]] | None = field(default_factory=Counter)
    sample: list[tuple[str, ...]] = field(default_factory=list)
    shared: set[tuple[str, ...]] = field(default_factory=set)
    fingerprint: str = ""
    example: tuple[int, tuple[str, ...], RowLabels] | None = None

    @property
    def unknown_cells(self) -> int:
        """Number of unknown labels over all rows."""
        return self.unknown_counts.total()


@dataclass(frozen=True, kw_only=True)
class StreamedData(LabelledData):
    """Validation and test rows in memory, training rows as a stream with its counts."""

    stream: TextStream
    scan: Scan

    @property
    def is_hard(self) -> bool:
        """Whether every label is known, and either 0 or 1."""
        return self.scan.is_hard and super().is_hard

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split; that of the training rows comes from the pass over them."""
        return {"train": self.scan.fingerprint} | super().fingerprints()


@dataclass(frozen=True)
class _LabelCells:
    """The label cells of a stream, read anew on every pass."""

    rows: RowStream
    labels: LabelColumns

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows:
            if self.labels.columns:
                yield tuple(row.get(name) for name in self.labels.columns)
            else:
                yield row.get(self.labels.column)


@dataclass
class _RepeatedTexts:
    """Looks for one label per row: texts that return with other labels.

    Only the labels of the first :data:`REMEMBERED_TEXTS` texts are held, and those of the last one.
    """

    join_rows: bool | None
    seen: dict[int, int] = field(default_factory=dict)
    last: tuple[int, int] | None = None

    def check(self, texts: tuple[str, ...], labels: RowLabels, origin: str, number: int) -> None:
        """Refuse a text that had other labels before."""
        key = hash(tuple(" ".join(text.split()) for text in texts))
        content = hash(frozenset(labels.items()))
        earlier = self.seen.get(key)
        if earlier is None and self.last is not None and self.last[0] == key:
            earlier = self.last[1]
        if self.join_rows is not False and earlier not in (None, content):
            raise InputError(
                f"{origin}, row {number}: the text of this row had other labels in an earlier row: "
                "is this one label per row? Streaming cannot join rows: join them in the file, or "
                "set streaming false, or keep the rows apart with join_rows false"
            )
        if len(self.seen) < REMEMBERED_TEXTS:
            self.seen[key] = content
        self.last = (key, content)


def scan_rows(
    stream: TextStream,
    look_for: Collection[tuple[str, ...]],
    *,
    join_rows: bool | None = False,
) -> tuple[Scan, set[str]]:
    """Read and check all rows once; look for the texts of validation and test.

    Returns:
        The counts, and all label names.

    Raises:
        InputError: If a row is wrong; with the row.
    """
    scan, names, digest = Scan(), set[str](), hashlib.sha256()
    repeated = _RepeatedTexts(join_rows)
    choice = random.Random(0)
    for row in stream:
        scan.rows += 1
        labels = stream.labels.cell(row.cell, row.number) or {}
        names.update(labels)
        digest.update(json.dumps([row.texts, labels]).encode("ascii"))
        present = frozenset(name for name, value in labels.items() if value >= 0.5)
        scan.label_counts.update(present)
        if present and scan.example is None:
            scan.example = (row.number, row.texts, labels)
        unknown = [name for name, value in labels.items() if math.isnan(value)]
        scan.labelled_rows += bool(present)
        scan.empty_rows += not present and not unknown
        scan.unknown_counts.update(unknown)
        scan.rows_per_unknown[len(unknown)] += 1
        scan.is_hard &= set(labels.values()) <= {1.0}
        scan.known_counts.update(labels.keys() - unknown)
        repeated.check(row.texts, labels, stream.rows.origin, row.number)
        if scan.label_sets is not None and not unknown:
            scan.label_sets[present] += 1
            if len(scan.label_sets) > MAX_LABEL_SETS:
                scan.label_sets = None
        if row.texts in look_for:
            scan.shared.add(row.texts)
        # Reservoir sampling: each row so far is in the sample with the same probability.
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
    unseen_labels: UnseenLabels = "error",
) -> StreamedData:
    """Check all rows, count the labels of the training rows, and fit the label space.

    Args:
        rows: The training rows.
        held: Validation and test rows, as they are stored.
        origins: Split name to file or data set, for messages.
        labels: Columns and form of the labels of all splits.
        text_column: Column of the text.
        text_pair_column: Column of a second text, for pairs.
        unseen_labels: ``error`` or ``drop``: labels that no training row has.

    Raises:
        InputError: If a split or a column is missing, a row is wrong, or a label is unseen in
            training.
    """
    for split in ("validation", "test"):
        if split not in held:
            raise InputError(
                f"streaming: streamed rows cannot be split; give the {split} rows as {split}_file, "
                "or use a data set that has them"
            )
    labels.check_apart(text_column, text_pair_column)
    text_columns = tuple(name for name in (text_column, text_pair_column) if name)
    first = next(iter(rows), None)
    if first is None:
        raise InputError(f"{rows.origin}: the file holds no rows")
    for name in text_columns:
        check_column(name, rows.features, origin=rows.origin, of="the text", option="text_column")
    reader = labels.reader(rows.features, _LabelCells(rows, labels), rows.origin)
    splits, declared = read_splits(held, origins, labels, text_columns)
    if declared.names != reader.names:
        raise InputError(f"{min(origins.values())}: its labels differ from those of {rows.origin}")
    verdicts: tuple[str, ...] = ()
    if labels.use_verdicts:
        used = {*labels.used, *text_columns}
        verdicts = find_streamed_columns(rows, rows.features, used, rows.origin)
    stream = TextStream(rows, text_columns, reader, verdicts)
    look_for = {
        text for split in splits.values() for text in zip(*split.columns.values(), strict=True)
    }
    scan, names = scan_rows(stream, look_for, join_rows=labels.join_rows)
    several = scan.label_counts.total() > scan.labelled_rows
    counts = LabelCounts(scan.rows, scan.known_counts, scan.unknown_counts, several)
    labels.check_counts(reader, counts)
    space = LabelSpace(tuple(sorted(names)) if reader.names is None else reader.names)
    if reader.names is None:
        warn_of_lookalikes(space.names, rows.origin)
    dropped = handle_unseen(splits, space, unseen_labels, origins)
    held_rows = {split: each.to_dataset(space) for split, each in splits.items()}
    reading = Reading.from_reader(
        reader, labels, text_columns, format=rows.format, names=space.names, example=scan.example
    )
    return StreamedData(
        splits=DatasetDict(held_rows), label_space=space, dropped=dropped, reading=reading,
        stream=stream, scan=scan,
    )  # fmt: skip
