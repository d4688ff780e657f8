"""Files that were misread, refused for nothing, or ended in a traceback."""

import bz2
import gzip
import json
import logging
import lzma
import math
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from zlpr_hf import InputError, LabelSpace
from zlpr_hf.data.evaluation_set import EvaluationSet
from zlpr_hf.data.label_cells import RowLabels
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_names import read_label_names
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sources import read_file
from zlpr_hf.data.splits import split_rows
from zlpr_hf.data.written_cells import parse_written
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data


def read(cells: list[Any], **options: Any) -> list[RowLabels | None]:
    rows = Dataset.from_list([{"labels": cell} for cell in cells])
    return LabelColumns(**options).read(rows, "d")[1]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def train_rows(folder: Path, content: str, **options: Any) -> list[dict[str, float]]:
    """The labels of the training rows of a CSV file, by name; NaN becomes -1."""
    path = str(write(folder / "d.csv", content))
    data = load_data(
        DataArguments(train_file=path, validation_file=path, test_file=path, **options)
    )
    names = data.label_space.names
    return [
        {
            names[i]: -1.0 if math.isnan(value) else value
            for i, value in zip(row["label_ids"], row["label_values"], strict=True)
        }
        for row in data.splits["train"]
    ]


@pytest.mark.parametrize("options", [{}, {"label_delimiter": ";"}, {"label_delimiter": ","}])
def test_two_separators_in_one_column_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    cells = ["a;b", '"b,a"', '"c,a"', "a", "b", "c;b", '"b,c"', "a;c"]
    content = "\n".join(["text,labels", *(f"text {i},{cell}" for i, cell in enumerate(cells))])
    if not options:
        options = {"label_form": "names", "join_rows": True}
    with pytest.raises(InputError, match="write one separator in all cells"):
        train_rows(tmp_path, content, **options)


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    cells = ["1,0", "0,0", "0,25", "1,00"]
    content = "text;x;y\n" + "".join(f"text {i};{cell};1\n" for i, cell in enumerate(cells))
    content += "text;0;0\n"
    found = train_rows(tmp_path, content, label_columns=["x", "y"])
    assert [row.get("x", 0) for row in found] == [1, 0, 0.25, 1, 0]
    with pytest.raises(InputError, match="1,000"):  # one, or a thousand
        train_rows(tmp_path, content.replace("1,00;", "1,000;"), label_columns=["x", "y"])


@pytest.mark.parametrize("last", ["None", "null", "x", "10 10"])
def test_long_lists_of_numbers_end_quickly(last: str) -> None:
    """A pattern that tries every way to cut a number takes hours for this cell."""
    started = time.process_time()
    parse_written("[" + ", ".join(["1234567890"] * 2_000) + f", {last}]")
    assert time.process_time() - started < 60


def test_numbers_keep_all_their_digits() -> None:
    assert parse_written("[123456789012345678901234, 1]") == [123456789012345678901234, 1]


def test_a_reject_beside_label_columns_drops_the_row_only(tmp_path: Path) -> None:
    content = "text,a,b,answer\nr,1,0,accept\ns,0,1,accept\nt,1,0,reject\nu,0,0,reject\n"
    assert train_rows(tmp_path, content, label_columns=["a", "b"]) == [{"a": 1.0}, {"b": 1.0}]


def test_a_reject_of_a_written_list_drops_the_row_only(tmp_path: Path) -> None:
    content = "text,labels,answer\nr,\"['a', 'b']\",accept\ns,['a'],accept\nt,['b'],reject\n"
    assert train_rows(tmp_path, content) == [{"a": 1.0, "b": 1.0}, {"a": 1.0}]


def test_a_rejected_name_is_known_to_be_absent(tmp_path: Path) -> None:
    content = "text,labels,answer\nr,a,accept\nr,b,reject\ns,b,accept\n"
    options = {"label_form": "names", "join_rows": True}
    assert train_rows(tmp_path, content, **options) == [{"a": 1.0}, {"b": 1.0, "a": -1.0}]
    with pytest.raises(InputError, match="row 2: a rejected label"):
        train_rows(tmp_path, content, **(options | {"join_rows": False}))


def test_a_list_among_delimited_names_does_not_hide_the_question() -> None:
    with pytest.raises(InputError, match="label_delimiter"):
        read(["a;b", '["c"]', "c;a"])
    assert read(["a;b", '["c"]'], delimiter=";") == [{"a": 1.0, "b": 1.0}, {"c": 1.0}]


def test_keys_that_the_names_file_lacks() -> None:
    with pytest.raises(InputError, match="unknown label 'sprots'"):
        read([{"sports": 1, "sprots": 0}], names=("sports", "news"))


def test_a_split_may_lack_a_key(tmp_path: Path) -> None:
    files = {}
    rows = {"train": {"a": 1, "b": 0}, "validation": {"a": 0, "b": 1}, "test": {"a": 1}}
    for split, cats in rows.items():
        lines = "\n".join(json.dumps({"text": f"{split} {i}", "labels": cats}) for i in range(2))
        files[f"{split}_file"] = str(write(tmp_path / f"{split}.jsonl", lines))
    files["train_file"] = str(
        write(
            tmp_path / "both.jsonl",
            "\n".join(
                json.dumps({"text": f"t{i}", "labels": {"a": i % 2, "b": 1 - i % 2}})
                for i in range(4)
            ),
        )
    )
    data = load_data(DataArguments(**files))
    assert data.label_space.names == ("a", "b")
    assert data.targets("test")[0, 0] == 1
    assert math.isnan(data.targets("test")[0, 1])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([{"start": 0, "end": 4, "text": "Rome", "labels": ["CITY"]}], {"CITY": 1.0}),
        ([{"choices": ["a"], "text": "x"}, {"choices": ["a", "b"], "text": "y"}], {"a": 1, "b": 1}),
        ([{"id": 1, "name": "bug", "default": True}], {"bug": 1.0}),
    ],
)
def test_objects_that_hold_names(cell: Any, expected: dict[str, float]) -> None:
    assert read([json.dumps(cell)]) == [expected]


@pytest.mark.parametrize(
    "cell",
    [
        [{"name": "toxic", "value": 0}, {"name": "rude", "value": 1}],
        [{"label": "toxic", "selected": False}],
    ],
)
def test_objects_with_flags_are_refused(cell: Any) -> None:
    with pytest.raises(InputError, match="row 1.*flags"):
        read([json.dumps(cell)])


def test_missing_words_in_lists_and_columns() -> None:
    cells = ["a;b", "nan;", "a"]
    assert read(cells, delimiter=";", words="missing") == [{"a": 1, "b": 1}, None, {"a": 1}]
    assert read([["a", "b"], ["nan"]], words="missing") == [{"a": 1, "b": 1}, None]
    rows = Dataset.from_list([{"x": "a", "y": "b"}, {"x": "nan", "y": "b"}, {"x": "a", "y": ""}])
    columns: dict[str, Any] = {"columns": ("x", "y"), "form": "names"}
    with pytest.raises(InputError, match="'nan' .1 rows."):
        LabelColumns(**columns).read(rows, "d")
    _, found = LabelColumns(**columns, words="missing").read(rows, "d")
    assert found == [{"a": 1, "b": 1}, {"b": 1}, {"a": 1}]


@pytest.mark.parametrize("form", ["columns", "multi_hot"])
def test_no_label_leaves_explicit_unknowns_alone(form: str) -> None:
    values = [[1, None], [-1, 1], [-100, None]]
    if form == "columns":
        rows = Dataset.from_list([{"a": a, "b": b} for a, b in values])
        options: dict[str, Any] = {"columns": ("a", "b")}
    else:
        rows = Dataset.from_list(
            [{"labels": [float(v) if v is not None else v for v in row]} for row in values]
        )
        options = {"form": "multi_hot", "names": ("a", "b")}
    _, found = LabelColumns(**options, missing="no_label").read(rows, "d")
    shown = [
        {name: "?" if math.isnan(value) else value for name, value in (row or {}).items()}
        for row in found
    ]
    assert shown == [{"a": 1}, {"a": "?", "b": 1}, {"a": "?"}]


TABLE = b"text,labels\n" + b"red,a\nblue,b\n" * 500


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    packed = {".gz": gzip.compress(TABLE), ".bz2": bz2.compress(TABLE), ".xz": lzma.compress(TABLE)}
    for suffix, content in packed.items():
        assert read_file(write(tmp_path / f"whole.csv{suffix}", content)).num_rows == 1000
        for name, broken in {"cut": content[: len(content) // 2], "no": TABLE}.items():
            path = write(tmp_path / f"{name}.csv{suffix}", broken)
            with pytest.raises(InputError, match=name):
                read_file(path)
    path = write(tmp_path / "odd.csv", "text,labels\nred,a\n".encode("utf-16") + b"x")
    with pytest.raises(InputError, match="cannot be read to its end"):
        read_file(path)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("d.csv", TABLE)
    content = bytearray((tmp_path / "d.zip").read_bytes())
    content[6] |= 1  # the flag of an encrypted member
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="d.zip"):
        read_file(write(tmp_path / "d.zip", bytes(content)))


@pytest.mark.parametrize(
    "row",
    [
        {"text": "t", "items": []},
        {"text": "t", "id": 7, "items": [{"text": "inner"}]},
        {"text": ["a"], "labels": ["b"]},
    ],
)
def test_a_single_line_of_json_lines_is_a_row(row: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", json.dumps(row) + "\n")
    assert [dict(cells) for cells in RowReader(str(path)).good_rows()] == [row]


@pytest.mark.parametrize(
    "document",
    [
        [{"data": {"text": "a"}, "annotations": [{"result": None}]}],
        [{"data": {"text": "a"}, "annotations": [5]}],
        [{"data": {"text": "a"}, "annotations": [{"result": [{"value": None}]}]}],
    ],
)
def test_documents_that_do_not_fit_are_one_line(document: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "d.json", json.dumps(document))
    with pytest.raises(InputError, match=r"d\.json"):
        read_file(path)


@pytest.mark.parametrize("data", [5, [["a", "b"]], [["a"], 5]])
def test_an_object_that_is_no_table_is_a_row(data: Any, tmp_path: Path) -> None:
    document = {"text": "t", "columns": ["text"], "data": data}
    path = write(tmp_path / "d.json", json.dumps(document))
    assert [dict(cells) for cells in RowReader(str(path)).good_rows()] == [document]


def test_quotes_in_a_single_tabbed_column_join_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", 'text\n"Great film\nplain row\na "day"\nend"\n')
    texts = read_file(path)["text"][:]
    assert texts == ['"Great film', "plain row", 'a "day"', 'end"']


@pytest.mark.parametrize("streaming", [False, True])
def test_a_status_with_other_values_is_no_verdict(
    streaming: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = "text,labels,status\nr,a,submitted\ns,b,discarded\nt,a;b,in_review\n"
    path = str(write(tmp_path / "d.csv", content))
    with caplog.at_level(logging.WARNING):
        data = load_data(
            DataArguments(
                train_file=path, validation_file=path, test_file=path, label_delimiter=";",
                streaming=streaming,
            )
        )  # fmt: skip
    assert "'in_review'" in caplog.text
    assert data.fingerprints()["test"]
    rows = data.scan.rows if streaming else data.splits["train"].num_rows  # type: ignore[attr-defined]
    assert rows == 3


def test_declared_types_of_columns_that_are_not_used(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write(
            tmp_path / f"{split}.csv",
            "text,labels,score,rest\nred,a;b,,1\nblue,b;a,0.5,0\ngreen,a,0,0\n",
        )
    write(
        tmp_path / "README.md",
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: labels\n    dtype: string\n  - name: score\n    dtype: float64\n"
        "  - name: rest\n    dtype: int8\n---\n",
    )
    options: dict[str, Any] = {"dataset_name": str(tmp_path), "label_delimiter": ";"}
    assert load_data(DataArguments(**options)).splits["train"].num_rows == 3
    data = load_data(DataArguments(dataset_name=str(tmp_path), label_columns=["score", "rest"]))
    assert str(data.splits["train"]["label_values"][:]) == "[[nan, 1.0], [0.5], []]"


def test_columns_that_are_not_used_have_no_type(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '{"text": "a", "meta": 1}\n{"text": "b", "meta": "q"}\n')
    assert read_file(path, FileOptions(needed=frozenset({"text"}))).column_names == ["text"]


@pytest.mark.parametrize("cells", [["a;nan;nan", "b;a"], ["nan;nan", "a;b"]])
def test_nan_beside_labels_is_asked_about(cells: list[str]) -> None:
    with pytest.raises(InputError, match="'nan'"):
        read(cells, delimiter=";")
    found = read(cells, delimiter=";", words="missing")
    assert all("nan" not in (row or {}) for row in found)
    assert {"nan": 1.0}.items() <= (read(cells, delimiter=";", words="label")[0] or {}).items()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,name\n0,fast\n1,cheap\n", "line 1"),
        ("label\nfast\ncheap\n", "header"),
        ("# labels\nfast\n", "header"),
        ("0,fast\n1,cheap\n", "an id and a name"),
        ("0\tfast\n1\tcheap\n", "an id and a name"),
    ],
)
def test_names_files_that_would_shift_ids(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_label_names(write(tmp_path / "names.txt", content))


def test_flags_that_were_taken_for_names(caplog: pytest.LogCaptureFixture) -> None:
    for cells, options in (
        (["0,0,1", "1,0,0"], {"delimiter": ","}),
        ([["1", "0"], ["0", "1"]], {}),
    ):
        with pytest.raises(InputError, match="multi_hot"):
            read(cells, **options)  # type: ignore[arg-type]
    read(["0,4", "3"], delimiter=",")
    assert "label_form ids" in caplog.text


def test_columns_without_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "text;labels;;\nred;a;;\nblue;b;;\n")
    assert read_file(path).to_list() == [
        {"text": "red", "labels": "a"}, {"text": "blue", "labels": "b"}
    ]  # fmt: skip
    path = write(tmp_path / "e.csv", "text;labels;\nred;a;\nblue;a;b\n")
    with pytest.raises(InputError, match="line 3: expected 2 columns.*got 3"):
        read_file(path)
    with pytest.raises(InputError, match="line 1: remove this line"):
        read_file(write(tmp_path / "f.csv", "sep=;\ntext;labels\nred;a\n"))
    with pytest.raises(InputError, match="line 3: the header is repeated"):
        read_file(write(tmp_path / "g.csv", "text,labels\nred,a\ntext,labels\nblue,a\n"))


@pytest.mark.parametrize(("labels", "each"), [(20, 5), (100, 5), (100, 6), (26, 4), (8, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits_have_their_size_where_all_labels_are_rare(
    labels: int, each: int, seed: int
) -> None:
    sets = [[f"L{index % labels}"] for index in range(labels * each)]
    kept, moved = split_rows(sets, size=0.1, seed=seed)
    wanted = 0.1 * len(sets)
    assert abs(len(moved) - wanted) <= max(1.5, 0.11 * wanted)
    assert {sets[index][0] for index in kept} == {f"L{index}" for index in range(labels)}


def test_a_single_label_without_a_no_is_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = Dataset.from_list([{"a": "0", "b": "1"}, {"a": "1", "b": ""}, {"a": "1", "b": "1"}])
    LabelColumns(columns=("a", "b")).read(rows, "d")
    assert "no cell of label 'b' says no" in caplog.text


def test_labels_that_the_evaluated_data_lacks_are_unknown() -> None:
    space = LabelSpace(("a", "b", "c"))
    rows = {
        "names": (
            Dataset.from_list([{"text": "t", "labels": [1.0, 0.0]}]),
            {"form": "multi_hot", "names": ("a", "c")},
        ),
        "objects": (
            Dataset.from_list([{"text": "t", "labels": '{"a": 1, "c": 0}'}]),
            {"names": ("a", "c")},
        ),
    }
    for dataset, options in rows.values():
        columns = LabelColumns(default_names=space.names, **options)  # type: ignore[arg-type]
        targets = EvaluationSet.from_rows(dataset, "d", columns, space).targets
        assert targets[0, [0, 2]].tolist() == [1, 0]
        assert math.isnan(targets[0, 1])


def test_empty_texts_are_not_one_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = "text,labels\nr,a\n,b\ns,b\n,a\n"
    assert len(train_rows(tmp_path, content, label_form="names", join_rows=True)) == 4
    assert "2 of 4 texts are empty" in caplog.text


def test_nan_that_python_writes_in_json(tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.jsonl", '{"text": "a", "labels": NaN}\n{"text": "b", "labels": ["x"]}\n'
    )
    assert read_file(path)["labels"][:] == [None, ["x"]]


def test_rows_between_two_stray_quotes_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "".join(f"t {number},a\n" for number in range(4))
    path = write(tmp_path / "d.csv", f'text,labels\n"open,a\n{rows}tv 55",b\nlast,a\n')
    assert read_file(path).num_rows == 2
    assert "lines 2 to 7: one quoted cell holds 4 lines that look like rows" in caplog.text
    caplog.clear()
    letter = '"Dear Sir,\nthe handle broke.\nIt was new, and dear.\nYours"'
    read_file(write(tmp_path / "e.csv", f"text,labels\n{letter},a\nlast,a\n"))
    assert not caplog.text
