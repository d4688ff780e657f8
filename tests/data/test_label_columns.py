"""Six label forms give the same result; rows that fit no form are refused."""

import math
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from zlpr_hf import InputError
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.label_names import read_label_names

NAMES = ("a", "b", "c")
WANTED = [{"a": 1.0, "c": 1.0}, {}, {"b": 1.0}]
IDS = [[0, 2], [], [1]]


def typed(kind: object, values: list[object]) -> Dataset:
    return Dataset.from_dict({"labels": values}, features=Features({"labels": kind}))


FORMS = {
    "names": (typed(List(Value("string")), [["a", "c"], [], ["b"]]), LabelColumns()),
    "class labels": (typed(List(ClassLabel(names=list(NAMES))), IDS), LabelColumns()),
    "ids and names": (typed(List(Value("int64")), IDS), LabelColumns(form="ids", names=NAMES)),
    "multi-hot floats": (
        typed(List(Value("float32")), [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        LabelColumns(names=NAMES),
    ),
    "multi-hot integers": (
        typed(List(Value("int64")), [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        LabelColumns(form="multi_hot", names=NAMES),
    ),
    "columns of text": (
        Dataset.from_dict(
            {"a": ["1", "0", "0"], "b": ["False", "False", "True"], "c": ["1.0", "0", "0"]}
        ),
        LabelColumns(columns=NAMES),
    ),
    "delimited": (
        typed(Value("string"), ["a; c", "", "b"]),
        LabelColumns(delimiter=";", missing="no_label"),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form: str) -> None:
    rows, columns = FORMS[form]
    reader, labels = columns.read(rows, "train")
    assert labels == WANTED
    assert reader.names in (NAMES, None)


def test_soft_and_unknown_values_survive() -> None:
    rows = typed(List(Value("float64")), [[0.25, -100.0, 0.0], [math.nan, 1.0, 0.5]])
    _, labels = LabelColumns(names=NAMES).read(rows, "train")
    assert labels[0]["a"] == 0.25
    assert math.isnan(labels[0]["b"])
    assert math.isnan(labels[1]["a"])
    assert labels[1]["c"] == 0.5


def test_first_row_does_not_decide_the_form() -> None:
    """[0, 1] in the first row could be ids or flags; a guess would be wrong half the time."""
    rows = typed(List(Value("int64")), [[0, 1], [1, 1]])
    with pytest.raises(InputError, match="may be ids or 0/1 flags; say label_form"):
        LabelColumns().read(rows, "train")


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            typed(List(Value("string")), [["a"], ["a", ""]]),
            LabelColumns(),
            "row 2, column 'labels': expected a label name",
        ),
        (
            typed(List(Value("int64")), [[3]]),
            LabelColumns(form="ids", names=NAMES),
            "row 1.*id 3 is out of range; expected 0 to 2",
        ),
        (
            typed(List(Value("int64")), [[-1]]),
            LabelColumns(form="ids", names=NAMES),
            "id -1 is out of range",
        ),
        (typed(List(Value("int64")), [[1]]), LabelColumns(form="ids"), "need label_names_file"),
        (
            typed(List(Value("float64")), [[1, 0, 0], [0, 1.2, 0]]),
            LabelColumns(names=NAMES),
            "row 2.*label 'b': expected 0, 1.*got 1.2",
        ),
        (
            typed(List(Value("float64")), [[1, 0]]),
            LabelColumns(names=NAMES),
            "expected 3 numbers.*got 2",
        ),
        (typed(Value("string"), ["a"]), LabelColumns(), "say label_delimiter"),
        (typed(Value("float64"), [1.0]), LabelColumns(), "expected a list of names or ids"),
        (
            typed(Value("string"), ["a"]),
            LabelColumns(column="tags"),
            "no column 'tags' for the labels.*labels",
        ),
        (
            Dataset.from_dict({"a": ["1", "2"], "b": ["0", "0"]}),
            LabelColumns(columns=("a", "b")),
            "train, row 2: label 'a': expected 0, 1.*got 2; divide counts",
        ),
        (
            Dataset.from_dict({"a": ["1", "red"], "b": ["0", "0"]}),
            LabelColumns(columns=("a", "b")),
            "row 2: label 'a'.*got 'red'.*label_form names",
        ),
        (typed(Value("string"), ["a"]), LabelColumns(form="columns"), "go together"),
        (typed(Value("string"), ["a"]), LabelColumns(form="nmaes"), "label_form: expected one of"),
        (typed(List(Value("string")), [["z"]]), LabelColumns(names=NAMES), "unknown label 'z'"),
        (
            typed(List(Value("string")), [["Sprots"]]),
            LabelColumns(names=("Music", "Sports")),
            "unknown label 'Sprots'.*Sports",
        ),
    ],
)
def test_wrong_rows_are_named(rows: Dataset, columns: LabelColumns, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        columns.read(rows, "train")
    assert "\n" not in str(caught.value)


def test_label_names_file(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("a\n b \nc\n\n")
    (tmp_path / "n.json").write_text('["a", "b", "c"]')
    (tmp_path / "bad.json").write_text('{"a": 0}')
    assert read_label_names(tmp_path / "n.txt") == read_label_names(tmp_path / "n.json") == NAMES
    (tmp_path / "gap.txt").write_text("a\n\nb\n")
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(InputError, match=r"gap\.txt, line 2: expected a label name"):
        read_label_names(tmp_path / "gap.txt")
    with pytest.raises(InputError, match=r"twice\.txt, line 3: duplicate label"):
        read_label_names(tmp_path / "twice.txt")
    with pytest.raises(InputError, match="expected a JSON list"):
        read_label_names(tmp_path / "bad.json")
    with pytest.raises(InputError, match=r"none.txt: expected label names"):
        read_label_names(tmp_path / "none.txt")


def test_unused_column_that_python_cannot_read_is_ignored() -> None:
    """A time in an unknown time zone beside the labels is fine; as the labels it is not."""
    times = pa.array([0, 1], pa.timestamp("s", tz="Nowhere/Else"))
    rows = Dataset(pa.table({"labels": [["a"], ["b"]], "when": times}))
    assert LabelColumns().read(rows, "rows")[1] == [{"a": 1.0}, {"b": 1.0}]
    with pytest.raises(InputError, match="rows, column 'when' cannot be read"):
        LabelColumns(column="when", form="names").read(rows, "rows")


def test_column_cannot_be_text_and_label() -> None:
    LabelColumns().check_apart("text", None)
    with pytest.raises(InputError, match="column 'labels' is named for the text and for the lab"):
        LabelColumns().check_apart("text", "labels")
