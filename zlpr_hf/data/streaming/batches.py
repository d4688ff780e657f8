"""StreamedRows: training rows that are read, shuffled and shared between processes on demand."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from zlpr_hf.data.columns import check_text
from zlpr_hf.data.label_reader import LabelReader
from zlpr_hf.data.streaming.row_stream import RowStream
from zlpr_hf.data.verdicts import streamed_verdict
from zlpr_hf.errors import InputError

GROUPED_BATCHES = 50
"""Steps whose rows are sorted by length together, as in the length grouping of transformers."""


@dataclass(frozen=True)
class StreamedRow:
    """A row: its number from 1, its texts, and its label cell as stored."""

    number: int
    texts: tuple[str, ...]
    cell: Any


@dataclass(frozen=True)
class TextStream:
    """A stream of rows, reduced to texts (one, or two for pairs) and labels."""

    rows: RowStream
    text_columns: tuple[str, ...]
    labels: LabelReader
    verdict_columns: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[StreamedRow]:
        origin = self.rows.origin
        for number, row in enumerate(self.rows, start=1):
            if streamed_verdict(row, self.verdict_columns, origin, number) == "drop":
                continue
            texts: tuple[Any, ...] = tuple(row.get(name) for name in self.text_columns)
            for name, text in zip(self.text_columns, texts, strict=True):
                check_text(text, name, number, self.rows.origin)
            cell = self.labels.cell_of(row)
            if not self.labels.is_judged(cell):
                continue
            # The labels of rows with a text are not read here: each epoch reads them once already.
            has_text = any(map(str.strip, texts))
            if has_text or not self.labels.is_blank(texts, self.labels.cell(cell, number)):
                yield StreamedRow(number, texts, cell)


class StreamedRows(IterableDataset[dict[str, Any]]):
    """The training rows of one process; the order depends only on seed and epoch.

    All processes read and shuffle the whole stream in the same way, and each keeps every
    ``world_size``-th row. If the rows do not divide evenly, the first rows of the epoch (at most
    ``world_size - 1``) fill the last round, so that all processes have the same number of batches.
    Only one worker of a data loader reads, so that no row is repeated.

    Args:
        stream: Texts and labels.
        label2id: Label name to id.
        count: Number of rows in the stream.
        seed: Random seed of the order.
        buffer: Number of rows that are shuffled together, and so held at a time.
        step_rows: Rows per optimizer step on all processes; if given, rows of similar length end up
            in the same step.
        rank: Number of the process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        stream: TextStream,
        label2id: Mapping[str, int],
        *,
        count: int,
        seed: int,
        buffer: int,
        step_rows: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.stream = stream
        self.label2id = label2id
        self.count = count
        self.seed = seed
        self.buffer = buffer
        self.step_rows = step_rows
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def __len__(self) -> int:
        """Number of rows of this process per epoch."""
        return -(-self.count // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the data loader calls this before each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        if worker is not None:
            # The threads of the tokenizer do not survive the fork that starts a worker.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            if worker.id > 0:
                return
        order = random.Random(self.seed + self.epoch)
        rows = self._shuffled(order)
        if self.step_rows is not None:
            rows = _grouped(rows, self.step_rows, order)
        first: list[StreamedRow] = []
        count = 0
        for row in rows:
            if count < self.world_size:
                first.append(row)
            if count % self.world_size == self.rank:
                yield self._features(row)
            count += 1
        if count != self.count:
            raise InputError(
                f"{self.stream.rows.origin}: expected {self.count} rows as at the start of "
                f"training, got {count}; do not change it during training"
            )
        if self.rank >= count % self.world_size > 0:
            missing = self.rank - count % self.world_size
            yield self._features(first[missing % len(first)])

    def _shuffled(self, order: random.Random) -> Iterator[StreamedRow]:
        held: list[StreamedRow] = []
        for row in self.stream:
            if len(held) < self.buffer:
                held.append(row)
                continue
            chosen = order.randrange(self.buffer)
            yield held[chosen]
            held[chosen] = row
        order.shuffle(held)
        while held:
            yield held.pop()

    def _features(self, row: StreamedRow) -> dict[str, Any]:
        labels = self.stream.labels.cell(row.cell, row.number) or {}
        texts = dict(zip(("text", "text_pair"), row.texts, strict=False))
        return {
            **texts,
            "label_ids": [self.label2id[name] for name in labels],
            "label_values": list(labels.values()),
        }


def _grouped(
    rows: Iterable[StreamedRow], step_rows: int, order: random.Random
) -> Iterator[StreamedRow]:
    """Put rows of similar length into the same step, and shuffle the steps of each block."""
    rows = iter(rows)
    while block := list(islice(rows, step_rows * GROUPED_BATCHES)):
        block.sort(key=lambda row: -sum(map(len, row.texts)))
        steps = [block[start : start + step_rows] for start in range(0, len(block), step_rows)]
        # An incomplete step ends the epoch; anywhere else it would shift all later steps.
        last = steps.pop() if len(steps[-1]) < step_rows else []
        order.shuffle(steps)
        yield from chain(*steps, last)
