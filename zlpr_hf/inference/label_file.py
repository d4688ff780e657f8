"""Labelling: a whole file through a classifier, in order, in parts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from zlpr_hf.choices import LongTexts, Precision
from zlpr_hf.data.row_reader import BadRow, Row, RowReader
from zlpr_hf.distributed import Processes
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import LABELS, SCORES, RowWriter
from zlpr_hf.thresholds import logit_threshold

PART_ROWS = 1024
PART_CELLS = 4_000_000
"""With many labels a part has fewer rows, so that its logits stay within some megabytes."""
PART_CHARACTERS = 250_000
"""With long texts too, so that a kill costs seconds of work only."""


@dataclass(frozen=True)
class Labelling:
    """How texts are read and labels chosen; see :class:`zlpr_hf.Classifier`."""

    threshold: float = 0.5
    top_k: int | None = None
    min_labels: int | None = None
    long_texts: LongTexts = "max"
    precision: Precision = "float32"
    batch_size: int = 32
    strict: bool = False

    def check(self, classifier: Classifier) -> None:
        """Refuse values that are out of range, before anything is read.

        Args:
            classifier: The model.

        Raises:
            InputError: With what was expected.
        """
        _labelled(classifier, [], self, ())


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a run: read in all, bad ones, and those done by an earlier run."""

    rows: int
    bad: int
    earlier: int


def label_file(
    classifier: Classifier,
    reader: RowReader,
    writer: RowWriter,
    output: PartedFile,
    how: Labelling,
    done: Collection[int],
    processes: Processes,
) -> Counts:
    """Label a file; a run that was killed is gone on with, and ends with the same file.

    Several processes all read the whole of it, and take turns with the parts that are missing.

    Args:
        classifier: The model.
        reader: The input.
        writer: The format of the output.
        output: The output. Bad rows end up beside it, in ``FILE.bad.jsonl``, with the reason.
        how: Options.
        done: Numbers of the parts that are whole, from :meth:`PartedFile.open`.
        processes: This process among those that label the file.

    Returns:
        How many rows there were. They are in the parts, which are still to be joined.

    Raises:
        InputError: With ``strict``, at the first bad row.
    """
    count = earlier = bad_count = turn = 0
    with tqdm(desc="label", unit=" rows", dynamic_ncols=True, disable=not processes.is_main) as bar:
        for number, chunk in enumerate(_chunks(reader, part_rows(classifier))):
            good, bad = _separated(chunk, writer.added)
            if bad and how.strict:
                raise InputError(f"{reader.origin}, row {bad[0].number}: {bad[0].reason}")
            count, bad_count = count + len(chunk), bad_count + len(bad)
            if number in done:
                earlier += len(chunk)
                bar.initial = earlier  # what was there does not count for the rate
            else:
                if turn % processes.count == processes.rank:
                    content = writer.render(_labelled(classifier, good, how, writer.logit_columns))
                    output.add(number, content, [asdict(each) for each in bad])
                turn += 1
            bar.update(len(chunk))
    return Counts(count, bad_count, earlier)


def label_stream(
    classifier: Classifier, reader: RowReader, writer: RowWriter, how: Labelling
) -> Counts:
    """Label rows and write them to standard output as soon as they are read.

    Args:
        classifier: The model.
        reader: The input; from a terminal each line is answered at once.
        writer: The format of the output.
        how: Options. Bad rows are named on standard error.

    Returns:
        How many rows there were.

    Raises:
        InputError: With ``strict``, at the first bad row.
    """
    interactive = reader.path == "-" and sys.stdin.isatty()
    size = 1 if interactive else part_rows(classifier)
    count = bad_count = 0
    rows, first = iter(reader), True
    while (chunk := list(islice(rows, size))) or first:
        good, bad = _separated(chunk, writer.added)
        for each in bad:
            message = f"{reader.origin}, row {each.number}: {each.reason}"
            if how.strict:
                raise InputError(message)
            print(f"left out: {message}", file=sys.stderr)
        labelled = _labelled(classifier, good, how, writer.logit_columns)
        sys.stdout.buffer.write(writer.render(labelled, header=first))
        sys.stdout.buffer.flush()
        count, bad_count, first = count + len(chunk), bad_count + len(bad), False
    return Counts(count, bad_count, 0)


def part_rows(classifier: Classifier) -> int:
    """Rows of a part; depends on nothing but the number of labels, so that a run can go on.

    Args:
        classifier: The model.
    """
    return max(64, min(PART_ROWS, PART_CELLS // classifier.label_space.num_labels))


def _chunks(rows: Iterable[Row | BadRow], size: int) -> Iterator[list[Row | BadRow]]:
    """Rows of one part after the other; where a part ends depends on the rows alone."""
    chunk: list[Row | BadRow] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(map(len, row.texts)) if isinstance(row, Row) else 0
        if len(chunk) == size or characters >= PART_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _separated(
    rows: Iterable[Row | BadRow], added: Sequence[str]
) -> tuple[list[Row], list[BadRow]]:
    good: list[Row] = []
    bad: list[BadRow] = []
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
        elif clash := [name for name in added if name in row.cells]:
            bad.append(BadRow(row.number, f"has a column {clash[0]!r} already", row.cells))
        else:
            good.append(row)
    return good, bad


def _labelled(
    classifier: Classifier, rows: Sequence[Row], how: Labelling, logit_columns: Sequence[str]
) -> list[dict[str, Any]]:
    logits = classifier.compute_logits(
        [row.texts for row in rows],
        batch_size=how.batch_size,
        long_texts=how.long_texts,
        precision=how.precision,
        boundary=logit_threshold(how.threshold),
    )
    predictions = classifier.decide(
        logits, threshold=how.threshold, top_k=how.top_k, min_labels=how.min_labels
    )
    label_sets = classifier.label_sets_of(logits, predictions)
    labelled = []
    for row, label_set, values in zip(rows, label_sets, logits.tolist(), strict=True):
        names = [each["label"] for each in label_set]
        scores = [each["score"] for each in label_set]
        # Without the columns of logits, where they are not asked for.
        columns = zip(logit_columns, values, strict=False)
        labelled.append({**row.cells, LABELS: names, SCORES: scores, **dict(columns)})
    return labelled
