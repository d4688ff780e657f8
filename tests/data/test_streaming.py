"""Streamed rows: once per epoch, never held, shared between processes, fully checked."""

from __future__ import annotations

import csv
import gc
import json
import pickle
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Value
from torch.utils.data import DataLoader

from zlpr_hf import InputError
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.streaming.batches import StreamedRow, StreamedRows, TextStream
from zlpr_hf.data.streaming.row_stream import RowStream, stream_files
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

LABELS = LabelColumns(names=("a", "b"), form="names")


def rows_of(count: int, /, **changes: Any) -> StreamedRows:
    """Return rows whose text starts with their number, in seven lengths."""
    rows = [
        {"text": f"{i}" + " x" * (i % 7), "labels": ["a"] if i % 2 else []} for i in range(count)
    ]
    features = Dataset.from_list(rows[:2]).features
    stream = RowStream("made", features, rows.__iter__)
    reader = LABELS.reader(features, rows[0], "made")
    settings = {"count": count, "seed": 0, "buffer": 10}
    return StreamedRows(
        TextStream(stream, ("text",), reader), {"a": 0, "b": 1}, **(settings | changes)
    )


def numbers(rows: Any) -> list[int]:
    return [int(row["text"].split()[0]) for row in rows]


@pytest.mark.parametrize("buffer", [1, 10, 23, 100])
@pytest.mark.parametrize("step_rows", [None, 4])
def test_each_row_comes_once_per_epoch(buffer: int, step_rows: int | None) -> None:
    rows = rows_of(23, buffer=buffer, step_rows=step_rows)
    first = numbers(rows)
    assert sorted(first) == list(range(23))
    assert numbers(rows) == first
    if buffer == 1:
        assert (first == list(range(23))) == (step_rows is None)
        return
    assert first != list(range(23))
    rows.set_epoch(1)
    assert numbers(rows) != first
    assert sorted(numbers(rows)) == list(range(23))


@pytest.mark.parametrize("count", [1, 2, 12, 13, 23])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_share_the_batches_of_a_single_process(count: int, world_size: int) -> None:
    alone = numbers(rows_of(count))
    shares = [numbers(rows_of(count, rank=i, world_size=world_size)) for i in range(world_size)]
    assert {len(share) for share in shares} == {-(-count // world_size)}
    assert {len(rows_of(count, rank=i, world_size=world_size)) for i in range(world_size)} == {
        len(shares[0])
    }
    # The n-th rows of all processes are consecutive rows of a single process.
    together = [number for turn in zip(*shares, strict=True) for number in turn]
    assert together[:count] == alone
    repeated = together[count:]
    assert len(repeated) < world_size
    assert repeated == (alone * world_size)[: len(repeated)]


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_repeat_no_row(workers: int) -> None:
    def batches(count: int) -> list[list[int]]:
        loader = DataLoader(rows_of(23), batch_size=4, num_workers=count, collate_fn=numbers)
        return list(loader)

    assert batches(workers) == batches(0)


def test_rows_of_similar_length_share_a_step() -> None:
    rows = list(rows_of(70, buffer=70, step_rows=10))
    spreads = [
        len({len(row["text"].split()) for row in rows[start : start + 10]})
        for start in range(0, 70, 10)
    ]
    assert spreads == [1] * 7


def test_only_buffered_rows_are_held() -> None:
    alive: weakref.WeakSet[Text] = weakref.WeakSet()

    def read() -> Iterator[dict[str, Any]]:
        for i in range(3000):
            text = Text(i)
            alive.add(text)
            yield {"text": text, "labels": []}

    features = Features({"text": Value("string"), "labels": Value("string")})
    stream = RowStream("made", features, read)
    reader = LABELS.reader(Dataset.from_list([{"labels": ["a"]}]).features, {}, "made")
    text_stream = TextStream(stream, ("text",), reader)
    rows = StreamedRows(text_stream, {}, count=3000, seed=0, buffer=50)
    most = 0
    for row in rows:
        del row
        most = max(most, len(alive))
    gc.collect()
    assert 50 <= most <= 54
    assert not alive


class Text(str):
    """A text with weak references."""


def test_file_that_changes_during_training_is_refused() -> None:
    with pytest.raises(
        InputError, match="made: expected 9 rows as at the start of training, got 8"
    ):
        list(rows_of(8, count=9))


ROWS = [
    {"text": "red sky", "labels": ["red"]},
    {"text": "grey", "labels": []},
    {"text": "green, blue", "labels": ["green", "blue"]},
    {"text": "red sky", "labels": ["red", "green"]},
]
HELD = [{"text": "red sky", "labels": ["red"]}, {"text": "blue", "labels": ["blue"]}]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(["text", "labels"])
            writer.writerows([row["text"], ";".join(row["labels"])] for row in rows)
    return str(path)


def both(folder: Path, suffix: str, rows: list[dict[str, Any]], **more: Any) -> list[LabelledData]:
    """Load the same files with and without streaming."""
    files = {
        f"{split}_file": write(folder / f"{split}{suffix}", content)
        for split, content in (("train", rows), ("validation", HELD), ("test", HELD[:1]))
    }
    more = {"join_rows": False, **more}
    if suffix in (".csv", ".tsv"):
        more = {"label_delimiter": ";", "missing_labels": "no_label", **more}
    return [load_data(DataArguments(**files, streaming=flag, **more)) for flag in (True, False)]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_streamed_data_equals_held_data(suffix: str, tmp_path: Path) -> None:
    """A blank row of a table is no row; an empty list of labels says that none applies."""
    streamed, held = both(tmp_path, suffix, [*ROWS, {"text": "", "labels": []}])
    blank = int(suffix in (".jsonl", ".parquet"))
    assert isinstance(streamed, StreamedData)
    assert streamed.label_space == held.label_space
    assert streamed.is_hard is held.is_hard is True
    for split in ("validation", "test"):
        assert streamed.splits[split].to_list() == held.splits[split].to_list()
    ids = streamed.label_space.label2id
    rows = StreamedRows(streamed.stream, ids, count=4 + blank, seed=0, buffer=1)
    assert list(rows) == held.splits["train"].remove_columns("row").to_list()
    assert sorted(streamed.scan.sample) == sorted(held.texts("train"))
    assert streamed.scan.shared == {("red sky",)}
    assert streamed.scan.label_sets == {
        frozenset({"red"}): 1, frozenset(): 1 + blank, frozenset({"green", "blue"}): 1,
        frozenset({"red", "green"}): 1,
    }  # fmt: skip


def test_types_follow_from_all_rows(tmp_path: Path) -> None:
    """The first rows look like ids; a later one shows that they are flags."""
    rows: list[dict[str, Any]] = [
        {"text": "x", "labels": []},
        {"text": "y", "labels": [1, 0]},
        {"text": "z", "labels": [0.5, 1]},
    ]
    path = Path(write(tmp_path / "in.jsonl", rows))
    stream = stream_files([str(path)], ["labels"])
    assert str(stream.features["labels"]) == str(Dataset.from_list(rows).features["labels"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*ROWS, {"text": 3, "labels": []}],
            "(expected a text, got 3|got text in row 1, a whole number in row 5)",
        ),
        ([*ROWS, {"text": "x", "labels": ["red", ""]}], "row 5.*expected a label name, got ''"),
        ([*ROWS, {"text": "x", "labels": "red"}], "expected one type, got .*text in row 5"),
        ([{"text": "x", "label": []}], "no column 'labels' for the labels.*Did you mean .label"),
        ([{"text": "x", "labels": ["red"]}], "needs at least two labels, got 1"),
        ([], r"in\.jsonl: (there are|the file holds) no rows"),
    ],
)
def test_wrong_rows_are_named(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    train = write(tmp_path / "in.jsonl", rows)
    held = write(tmp_path / "held.jsonl", [{"text": "x", "labels": ["red"]}])
    arguments = {"train_file": train, "validation_file": held, "test_file": held}
    for streaming in (True, False):
        with pytest.raises(InputError, match=message) as found:
            load_data(DataArguments(streaming=streaming, join_rows=False, **arguments))
        assert "\n" not in str(found.value)


def test_two_spellings_are_reported_with_and_without_streaming(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both(tmp_path, ".jsonl", [*ROWS, {"text": "x", "labels": ["Red"]}])
    assert sum("'Red' and 'red' are two labels" in message for message in caplog.messages) == 2


def test_missing_splits_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(
        InputError, match="streaming: .* give the validation rows as validation_file"
    ):
        load_data(DataArguments(train_file=train, test_file=train, streaming=True))


def test_label_unseen_in_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: label 'blue' does not occur in the training rows"):
        both(tmp_path, ".jsonl", [ROWS[0], {"text": "x", "labels": ["green"]}])
    rows = [ROWS[0], {"text": "x", "labels": ["green"]}]
    streamed, held = both(tmp_path, ".jsonl", rows, unseen_labels="drop")
    assert streamed.dropped == held.dropped == {"blue": 1}


def test_folder_of_a_data_set(tmp_path: Path) -> None:
    for split, content in (("train", ROWS), ("validation", HELD), ("test", HELD)):
        write(tmp_path / f"{split}.parquet", content)
    streamed, held = (
        load_data(DataArguments(dataset_name=str(tmp_path), streaming=flag, join_rows=False))
        for flag in (True, False)
    )
    assert isinstance(streamed, StreamedData)
    assert streamed.label_space == held.label_space
    rows = StreamedRows(streamed.stream, streamed.label_space.label2id, count=4, seed=0, buffer=1)
    assert list(rows) == held.splits["train"].remove_columns("row").to_list()
    assert streamed.splits["test"].to_list() == held.splits["test"].to_list()


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        ([[1, 0], [0, 1], [0.25, -100]], {}),
        ([[1, 0], [0, 1], [0, 0]], {"label_form": "multi_hot"}),
        ([[True, False], [False, True], [True, True]], {}),
        ([[], [0], [0, 1]], {"label_form": "ids", "label_names_file": "names.txt"}),
        ([["red"], [], ["blue"]], {"label_names_file": "names.txt"}),
    ],
)
def test_every_form_of_labels(
    cells: list[Any], options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("blue\nred\n")
    rows = [{"text": f"x{i}", "labels": cell, "a": 1, "b": i} for i, cell in enumerate(cells)]
    file = write(tmp_path / "in.jsonl", rows)
    files = {"train_file": file, "validation_file": file, "test_file": file}
    check_same(files, options)
    check_same({name: write(tmp_path / "in.parquet", rows) for name in files}, options)


def test_one_column_per_label(tmp_path: Path) -> None:
    rows = [{"text": "x", "a": 1, "b": 0}, {"text": "y", "a": 0.5, "b": -100}]
    file = write(tmp_path / "in.parquet", rows)
    files = {"train_file": file, "validation_file": file, "test_file": file}
    check_same(files, {"label_columns": ["b", "a"]})


def check_same(files: dict[str, str], options: dict[str, Any]) -> None:
    streamed, held = (
        load_data(DataArguments(**files, **options, streaming=flag)) for flag in (True, False)
    )
    assert isinstance(streamed, StreamedData)
    assert streamed.label_space == held.label_space
    assert streamed.is_hard == held.is_hard
    count = streamed.scan.rows
    rows = StreamedRows(
        streamed.stream, streamed.label_space.label2id, count=count, seed=0, buffer=1
    )
    assert str(list(rows)) == str(
        held.splits["train"].remove_columns("row").to_list()
    )  # NaN is not equal to itself


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_streamed_rows_can_be_pickled(suffix: str, tmp_path: Path) -> None:
    data = both(tmp_path, suffix, ROWS)[0]
    assert isinstance(data, StreamedData)
    rows = StreamedRows(data.stream, data.label_space.label2id, count=4, seed=0, buffer=2)
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)


def test_pairs(tmp_path: Path) -> None:
    rows = [{"text": "a", "other": "b", "labels": ["x", "y"]}]
    path = write(tmp_path / "in.jsonl", rows)
    files = {"train_file": path, "validation_file": path, "test_file": path}
    data = load_data(DataArguments(streaming=True, text_pair_column="other", **files))
    assert isinstance(data, StreamedData)
    assert list(data.stream) == [StreamedRow(1, ("a", "b"), ["x", "y"])]
