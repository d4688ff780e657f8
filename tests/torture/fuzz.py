"""Odd and broken files through every reader: the end is a value or one clear line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from datasets import DatasetDict

from tests.torture.inputs import DELIMITERS, LABELS, VALUES, Input, make_table, mutate
from tests.torture.tally import Tally
from zlpr_hf import LabelSpace
from zlpr_hf.data.dataset import build_labelled_data
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_names import read_label_names
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sources import Source, read_file
from zlpr_hf.distributed import Processes
from zlpr_hf.errors import InputError
from zlpr_hf.inference.label_file import LabellingOptions, label_file
from zlpr_hf.inference.parted_file import PartedFile
from zlpr_hf.inference.row_writer import RowWriter
from zlpr_hf.models.head_init import read_label_descriptions
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.comparison.plan import read_plan

CASES = 100_000
SECONDS = 20
"""A file of some kilobytes takes milliseconds; after this time it counts as a hang."""
MAX_NOTES = 20
SPACE = LabelSpace(("a", "b, c", "<b>x</b>", "👍", "yes", "../../etc/passwd"))
CONFIG = """\
loss: zlpr
learning_rate: 1e-4
label_columns: [yes, 'no', "1"]
eval_strategy: no
bf16: false
lr_scheduler_kwargs: {num_cycles: 2}
label_delimiter: ';'
seed: 3
text_column: &t text
text_pair_column: *t
dataset_name: cwe
"""
PLAN = """\
output_dir: out
seeds: [1, 2]
datasets:
  tiny: {train_file: x.csv, max_length: 16}
losses: [zlpr, bce]
settings: {num_train_epochs: 1, label_columns: [a, b]}
metrics: [f1_micro]
resamples: 100
reference: zlpr
"""
DESCRIPTIONS = "a: the first\n'b, c': two words\nyes: agreed\n"


class _Hang(BaseException):
    """Not an Exception, which the tested code might catch."""


class _FoundError(Exception):
    """A wrong result; ``lost`` of its rows are missing."""

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(message)
        self.lost = lost


class _Reader:
    """A stand-in for a model: labels depend only on the text."""

    label_space = SPACE

    def compute_logits(self, texts: Sequence[tuple[str, ...]], **_: Any) -> np.ndarray:
        ids = range(SPACE.num_labels)
        sums = [[zlib.crc32(f"{each}{text}".encode()) for each in ids] for text, *_ in texts]
        return np.array(sums, dtype=np.float64).reshape(len(texts), SPACE.num_labels) / 2**31 - 1

    def decide(self, logits: np.ndarray, **_: Any) -> np.ndarray:
        return logits > 0

    def label_sets_of(self, logits: np.ndarray, predictions: np.ndarray) -> list[Any]:
        return [
            [{"label": name, "score": 0.5} for name in names] for names in SPACE.decode(predictions)
        ]

    def labels(self, text: str) -> list[str]:
        return SPACE.decode(self.decide(self.compute_logits([(text,)])))[0]


def _table(rng: random.Random, folder: Path, *more: str) -> tuple[Input, Path]:
    table = make_table(rng, rng.choice((".csv", ".tsv", ".jsonl", ".parquet", *more)))
    if rng.random() < 0.7:
        table = mutate(rng, table)
    path = folder / f"in{table.suffix}"
    path.write_bytes(table.content)
    return table, path


def _train(rng: random.Random, folder: Path) -> None:
    table, path = _table(rng, folder)
    rows = read_file(path)
    _same(rows.num_rows, table.count())
    if rng.random() < 0.7:
        return
    labels = LabelColumns(
        form=rng.choice(("auto", "auto", "names", "ids", "multi_hot", "delimited")),
        delimiter=rng.choice((None, ";", ";", " ")),
        names=rng.choice((None, None, LABELS, ("a", "b"))),
        missing="no_label",  # no row with a text is left out or joined: they can be counted
        words="label",
        join_rows=False,
    )
    size = rng.choice((0.1, 0.5))
    source = Source(DatasetDict({"train": rows}), {"train": str(path)})
    data = build_labelled_data(source, labels, validation_size=size, test_size=size)
    found = [text for split in data.splits.values() for text in split["text"]]
    _same(*(sum(bool(text.strip()) for text in texts) for texts in (found, rows["text"])))
    if len(found) > rows.num_rows:
        raise _FoundError("more rows than were written")


def _predict(rng: random.Random, folder: Path) -> None:
    table, path = _table(rng, folder, ".txt")
    reader = RowReader(str(path), text_columns=["text"])
    formats = ["jsonl"]
    if reader.schema is not None:
        lines = ["lines"] * (reader.schema.names == ["text"])
        formats = ["csv", "tsv", "jsonl", "parquet", *lines]
    write_as = rng.choice(formats)
    writer = RowWriter(write_as, reader.schema, SPACE.names)
    output = PartedFile(folder / "out", {}, overwrite=True)
    done = output.open()
    model: Any = _Reader()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress
            counts = label_file(
                model, reader, writer, output, LabellingOptions(), done, Processes()
            )
    except InputError:  # as zlpr predict does
        output.discard()
        raise
    output.finish(writer.join)
    found = _read_back(folder / "out", write_as)
    bad = (folder / "out.bad.jsonl").read_text() if counts.bad else ""
    if len(bad.splitlines()) != counts.bad:
        raise _FoundError("bad rows are not those that were counted")
    _same(len(found) + counts.bad, table.count())
    if table.texts is not None:
        wanted = [text for text in table.texts if isinstance(text, str)]
        if [text for text, _ in found] != wanted:
            raise _FoundError("texts changed", abs(len(found) - len(wanted)))
    for text, labels in found:
        if labels != _Reader().labels(text):
            raise _FoundError(f"labels of another text: {labels}")


def _read_back(path: Path, format: str) -> list[tuple[str, list[str]]]:
    """Read texts and labels of an output with code other than the tested one."""
    if format == "parquet":
        rows = pyarrow.parquet.ParquetFile(path).read(["text", "predicted_labels"]).to_pylist()
        return [(row["text"], row["predicted_labels"]) for row in rows]
    if format == "jsonl":
        loaded = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
        return [(row["text"], row["predicted_labels"]) for row in loaded]
    if format == "lines":
        pairs = [line.split("\t", 1) for line in path.read_bytes().decode().split("\n") if line]
        return [(text, _labels(cell)) for cell, text in pairs]
    with path.open(encoding="utf-8", newline="") as stream:
        delimiter = DELIMITERS[f".{format}"]
        cells = list(csv.DictReader(stream, delimiter=delimiter, strict=True))
    return [(row["text"], _labels(row["predicted_labels"])) for row in cells]


def _labels(cell: str) -> list[str]:
    return cell.split(";") if cell else []


def _same(found: int, expected: int | None) -> None:
    if expected is not None and found != expected:
        raise _FoundError(f"{found} rows of {expected}", max(1, expected - found))


def _text(rng: random.Random, folder: Path, name: str, whole: str) -> Path:
    """Write a file of a few lines, some of them changed."""
    path = folder / name
    content = whole.encode()
    lines = whole.splitlines()
    if rng.random() < 0.5:  # another value, of another type
        key = rng.choice(lines).partition(":")[0]
        value = json.dumps(rng.choice(VALUES))
        content = "\n".join(
            [*(x for x in lines if not x.startswith(key)), f"{key}: {value}", ""]
        ).encode()
    if rng.random() < 0.8:
        content = mutate(rng, Input(path.suffix, content, None)).content
    path.write_bytes(content)
    return path


def _config(rng: random.Random, folder: Path) -> None:
    parse_arguments([str(_text(rng, folder, "c.yaml", CONFIG))])


def _plan(rng: random.Random, folder: Path) -> None:
    read_plan(_text(rng, folder, "p.yaml", PLAN))


def _descriptions(rng: random.Random, folder: Path) -> None:
    read_label_descriptions(str(_text(rng, folder, "d.yaml", DESCRIPTIONS)), SPACE)


def _names(rng: random.Random, folder: Path) -> None:
    names = [name for name in LABELS if name == name.strip() and "\n" not in name]
    rng.shuffle(names)
    whole = rng.random() < 0.3
    suffix = rng.choice((".txt", ".json"))
    content = (json.dumps(names) if suffix == ".json" else "\n".join(names)).encode()
    if not whole:
        content = mutate(rng, Input(suffix, content, None)).content
    path = folder / f"n{suffix}"
    path.write_bytes(content)
    found = read_label_names(path)
    if whole and list(found) != names:
        raise _FoundError("other label names than were written")


TARGETS: dict[Callable[[random.Random, Path], None], int] = {
    _train: 30, _predict: 35, _config: 5, _plan: 3, _descriptions: 12, _names: 15,
}  # fmt: skip


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(folder: Path, seed: int, scale: float) -> Tally:
    """Try 100,000 files times ``scale`` in an empty folder.

    A note of the tally names its case, which :func:`try_case` runs alone.
    """
    counts: Counter[str] = Counter()
    notes: list[str] = []
    for number in range(round(CASES * scale)):
        counts["inputs"] += 1
        kind, note, lost = try_case(folder, f"{seed}/{number}")
        if kind:
            counts[kind] += max(1, lost)
            notes.append(note)
    return Tally(**counts, notes=tuple(notes[:MAX_NOTES]))


def try_case(folder: Path, case: str) -> tuple[str, str, int]:
    """Run one case: seed and number, such as ``0/17``.

    Returns:
        The count of the tally to raise ("" for none), a note, and the number of lost rows.
    """
    rng = random.Random(case)
    target = rng.choices(list(TARGETS), list(TARGETS.values()))[0]
    where = f"case {case} ({target.__name__[1:]})"
    try:
        with _in_time():
            target(rng, folder)
    except InputError as error:
        message = str(error)
        if len(message.splitlines()) != 1 or str(folder) not in message:
            return "tracebacks", f"{where}: not one line that names the file: {message!r:.300}", 0
        if (folder / "out.parts").exists():
            return "wrong", f"{where}: parts stay of what cannot be finished", 0
    except _FoundError as found:
        return "rows_lost" if found.lost else "wrong", f"{where}: {found}", found.lost
    except _Hang:
        return "hangs", f"{where}: longer than {SECONDS} seconds", 0
    except Exception as error:
        return "tracebacks", f"{where}: {type(error).__name__}: {error!s:.300}", 0
    return "", "", 0
