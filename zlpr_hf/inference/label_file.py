"""Label a whole file, or a stream, with a classifier: rows in order, bad rows set aside."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from zlpr_hf.choices import LongTexts, Precision
from zlpr_hf.data.row_reader import BadRow, Row, RowReader
from zlpr_hf.data.text_streams import STDIN
from zlpr_hf.distributed import Processes
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import LABELS, SCORES, RowWriter
from zlpr_hf.thresholds import logit_threshold

SCORE_DECIMALS, LOGIT_DECIMALS = 4, 6
"""Decimals that are written; those of logits are enough to compute scores again."""
PROMPT = "type a text and press Enter; Ctrl-D ends"
PART_ROWS = 1024
PART_CELLS = 4_000_000
"""With many labels a part has fewer rows, so that its logits stay within some megabytes."""
PART_CHARACTERS = 250_000
"""With long texts too, so that a kill costs only seconds of work."""


@dataclass(frozen=True)
class LabellingOptions:
    """How to read texts and choose labels (see :class:`zlpr_hf.Classifier`).

    ``strict`` stops at the first bad row.
    """

    threshold: float = 0.5
    top_k: int | None = None
    min_labels: int | None = None
    long_texts: LongTexts | None = None
    precision: Precision = "float32"
    batch_size: int = 32
    strict: bool = False

    def check(self, classifier: Classifier) -> None:
        """Label nothing, so that values out of range raise an InputError before rows are read."""
        label_rows(classifier, [], self, ())


@dataclass(frozen=True)
class Counts:
    """Number of rows, of bad rows among them, and of rows that an earlier run had labelled."""

    rows: int
    bad: int
    earlier: int


def label_file(
    classifier: Classifier,
    reader: RowReader,
    writer: RowWriter,
    output: PartedFile,
    options: LabellingOptions,
    done: Collection[int],
    processes: Processes,
) -> Counts:
    """Write the missing parts of the output; a resumed run ends with the same file.

    Every process reads the whole input, and they take turns with the missing parts.

    Args:
        classifier: The model.
        reader: The input.
        writer: The format of the output.
        output: The parts; they are not joined yet. Bad rows go beside each part.
        options: How to label.
        done: Numbers of the complete parts, from :meth:`PartedFile.open`.
        processes: This process and its siblings.

    Raises:
        InputError: With ``strict``, at the first bad row.
    """
    count = earlier = bad_count = turn = 0
    with tqdm(
        desc="label", unit=" rows", dynamic_ncols=True, disable=None if processes.is_main else True
    ) as bar:
        for number, chunk in enumerate(_chunks(reader, part_rows(classifier))):
            good, bad = _separate(chunk, writer.added)
            if bad and options.strict:
                raise bad[0].to_error(reader.origin)
            count, bad_count = count + len(chunk), bad_count + len(bad)
            if number in done:
                earlier += len(chunk)
                bar.initial = earlier  # rows of an earlier run do not count for the rate
            else:
                if turn % processes.count == processes.rank:
                    rows = label_rows(classifier, good, options, writer.logit_columns)
                    output.add(number, writer.render(rows), [_to_json(each) for each in bad])
                turn += 1
            bar.update(len(chunk))
    return Counts(count, bad_count, earlier)


def label_stream(
    classifier: Classifier, reader: RowReader, writer: RowWriter, options: LabellingOptions
) -> None:
    """Label rows and write them to standard output at once; report bad rows on standard error.

    Raises:
        InputError: With ``strict``, at the first bad row.
    """
    interactive = reader.path == STDIN and sys.stdin.isatty()
    if interactive:
        print(PROMPT, file=sys.stderr, flush=True)
    size = 1 if interactive else part_rows(classifier)
    rows, first = iter(reader), True
    while (chunk := list(islice(rows, size))) or first:
        good, bad = _separate(chunk, writer.added)
        for each in bad:
            error = each.to_error(reader.origin)
            if options.strict:
                raise error
            print(f"left out: {error}", file=sys.stderr)
        labelled = label_rows(classifier, good, options, writer.logit_columns)
        sys.stdout.buffer.write(writer.render(labelled, header=first))
        sys.stdout.buffer.flush()
        first = False


def part_rows(classifier: Classifier) -> int:
    """Return the rows per part; it depends only on the number of labels, so that runs resume."""
    return max(64, min(PART_ROWS, PART_CELLS // classifier.label_space.num_labels))


def _chunks(rows: Iterable[Row | BadRow], size: int) -> Iterator[list[Row | BadRow]]:
    """Yield the rows of one part after the other; only the rows decide where a part ends."""
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


def _separate(rows: Iterable[Row | BadRow], added: Sequence[str]) -> tuple[list[Row], list[BadRow]]:
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


def _to_json(row: BadRow) -> dict[str, Any]:
    return {"number": row.number, "reason": row.explanation, "content": row.content}


def label_rows(
    classifier: Classifier,
    rows: Sequence[Row],
    options: LabellingOptions,
    logit_columns: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the cells of rows with their labels and scores, and logits if columns are named."""
    logits = classifier.compute_logits(
        [row.texts for row in rows],
        batch_size=options.batch_size,
        long_texts=options.long_texts,
        precision=options.precision,
        boundary=logit_threshold(options.threshold),
    )
    predictions = classifier.decide(
        logits,
        threshold=options.threshold,
        top_k=options.top_k,
        min_labels=options.min_labels,
    )
    label_sets = classifier.label_sets_of(logits, predictions)
    labelled = []
    for row, label_set, values in zip(rows, label_sets, logits.tolist(), strict=True):
        names = [each["label"] for each in label_set]
        scores = [round(each["score"], SCORE_DECIMALS) for each in label_set]
        # There are no logit columns unless the user asked for them.
        decimals = [round(value, LOGIT_DECIMALS) for value in values]
        columns = zip(logit_columns, decimals, strict=False)
        labelled.append({**row.cells, LABELS: names, SCORES: scores, **dict(columns)})
    return labelled
