"""Rows of one text, verdicts and missing values: never trained as something else in silence."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from zlpr_hf import InputError
from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.sources import Source
from zlpr_hf.data.split_rows import SplitRows, join_labels
from zlpr_hf.data.splits import split_rows
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def load(path: Path, **options: Any) -> LabelledData:
    files = {f"{split}_file": str(path) for split in ("train", "validation", "test")}
    return load_data(DataArguments(**files, **options))


def content(data: LabelledData) -> dict[str, dict[str, float]]:
    """Return what is known of each text."""
    rows = data.splits["train"]["text"][:], data.targets("train").tolist()
    return {
        text: {
            name: value
            for name, value in zip(data.label_space.names, values, strict=True)
            if not math.isnan(value)
        }
        for text, values in zip(*rows, strict=True)
    }


LONG = [
    {"text": "a b", "label": "red"},
    {"text": "c", "label": "blue"},
    {"text": "a  b ", "label": "blue"},
    {"text": "d", "label": "red"},
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_one_label_per_row(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"d{suffix}", LONG)
    options: dict[str, Any] = {"label_column": "label", "label_delimiter": ";"}
    with pytest.raises(InputError, match=r"1 texts .* rows 1, 3.*--join_rows true"):
        load(path, **options)
    with pytest.raises(InputError, match="join"):
        load(path, **options, streaming=True)
    joined = content(load(path, **options, join_rows=True))
    assert joined == {
        "a b": {"blue": 1, "red": 1}, "c": {"blue": 1, "red": 0}, "d": {"blue": 0, "red": 1},
    }  # fmt: skip
    assert len(load(path, **options, join_rows=False).splits["train"]) == 4


def test_one_label_per_row_needs_no_delimiter_to_be_joined(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", LONG)
    assert len(load(path, label_column="label", join_rows=True).splits["train"]) == 3


def test_one_label_per_row_in_other_forms(tmp_path: Path) -> None:
    columns = [{"text": "a", "x": 1, "y": 0}, {"text": "a", "x": 0, "y": 1}]
    pairs = [
        {"text": "a", "other": "b", "labels": ["x"]},
        {"text": "a", "other": "c", "labels": ["y"]},
        {"text": "a", "other": "c", "labels": ["x"]},
    ]
    with pytest.raises(InputError, match="rows 1, 2"):
        load(write(tmp_path / "c.csv", columns), label_columns=["x", "y"])
    with pytest.raises(InputError, match="rows 2, 3"):
        load(write(tmp_path / "p.jsonl", pairs), text_pair_column="other")


def test_join_rows_is_a_flag_or_a_choice() -> None:
    for words, value in (
        ([], None), (["--join_rows"], True), (["--join_rows", "false"], False)
    ):  # fmt: skip
        arguments = parse_arguments(["--train_file", "a", "--output_dir", "b", *words])
        assert arguments.data.join_rows is value


def test_joined_values() -> None:
    nan = math.nan
    assert join_labels([{"a": nan}, {}]) == {}
    assert join_labels([{"a": nan}, {"a": 0.5}]) == {"a": 0.5}
    assert math.isnan(join_labels([{"a": nan}, {"a": nan}])["a"])


@pytest.mark.parametrize("groups", [None, "own"])
def test_repeated_texts_do_not_straddle_the_splits(groups: str | None) -> None:
    texts = [f"t{i // 3}" for i in range(90)]
    labels = [{("a", "b")[i // 3 % 2]: 1.0} for i in range(90)]
    own = None if groups is None else [(i // 6,) for i in range(90)]
    rows = SplitRows({"text": texts}, labels, list(range(1, 91)), own)
    if own is None:
        first, second = map(rows.take, rows.draw(0.2, seed=0))
        assert not set(first.columns["text"]) & set(second.columns["text"])
        assert len(second.labels) > 5
        assert split_rows([["a"], ["b"]] * 10, size=0.2, seed=0)[1].tolist()
        return
    first, second = map(rows.take, rows.draw(0.2, seed=0))
    assert not set(first.groups or ()) & set(second.groups or ())
    assert not set(first.columns["text"]) & set(second.columns["text"])


def test_joined_rows_keep_all_groups_together(caplog: pytest.LogCaptureFixture) -> None:
    """A text in rows of two authors ties both: none of them is on two sides."""
    rows = [{"text": f"{i} by all", "author": f"{who}{i}", "labels": [["a"], ["b"]][i % 2]}
            for i in range(60) for who in "AB"]  # fmt: skip
    rows += [{"text": f"{i} by one", "author": f"B{i}", "labels": ["b"]} for i in range(60)]
    rows += [{"text": "alone", "author": None, "labels": ["a"]}, {"text": "", "labels": ["a"]}]
    source = Source(DatasetDict({"train": Dataset.from_list(rows)}), {"train": "rows"})
    for join in (True, False):
        for folds in (0, 5):
            data = build_labelled_data(
                source, LabelColumns(join_rows=join), group_column="author", folds=folds,
                validation_size=0.2, test_size=0.2,
            )  # fmt: skip
            place = {text: name for name, each in data.splits.items() for text in each["text"]}
            if data.folds is not None:
                place |= dict(zip(data.splits["train"]["text"], data.folds.tolist(), strict=True))
            assert len(set(place.values())) > 2
            assert all(place[f"{i} by all"] == place[f"{i} by one"] for i in range(60))
            assert "120 groups are 60 units" in caplog.text
            caplog.clear()


def test_empty_texts_are_no_link() -> None:
    rows = SplitRows({"text": ["", " ", "a", "a", "b"]}, [{"x": 1.0}] * 5, [1, 2, 3, 4, 5])
    units = rows.units()
    assert units is not None
    assert len(set(units)) == 4
    assert units[2] == units[3]
    rows.groups = [("g",), ("h",), ("g",), ("i", "j"), ("j",)]
    assert rows.take([0, 1]).units() is None
    units = rows.units()
    assert units is not None
    assert [units[i] == units[0] for i in range(5)] == [True, False, True, True, True]


BINARY = [
    {"text": "a", "label": "red", "answer": "accept"},
    {"text": "a", "label": "blue", "answer": "reject"},
    {"text": "b", "label": "blue", "answer": "accept"},
    {"text": "b", "label": "green", "answer": "ignore"},
    {"text": "c", "label": "green", "answer": "accept"},
    {"text": "d", "label": "green", "answer": "reject"},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rejected_labels_are_negatives_and_ignored_rows_are_left_out(
    suffix: str, tmp_path: Path
) -> None:
    path = write(tmp_path / f"d{suffix}", BINARY)
    data = load(path, label_column="label", label_delimiter=",")
    assert content(data) == {
        "a": {"red": 1, "blue": 0}, "b": {"blue": 1}, "c": {"green": 1}, "d": {"green": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("answer", ["accept", "reject", "ignore"]),
        ("status", ["Validated", "Discarded", "Default"]),
        ("status", ["submitted", "discarded", "pending"]),
        ("status", ["submitted", None, ""]),
        ("answer", ["accept", None, "ignore"]),
        ("was_cancelled", [False, True, True]),
        ("was_cancelled", ["False", "True", "1"]),
        ("AssignmentStatus", ["Approved", "Rejected", "Rejected"]),
    ],
)
def test_verdicts_on_rows(column: str, values: list[Any], tmp_path: Path) -> None:
    rows = [
        {"text": text, "labels": ["x", text], column: value}
        for text, value in zip("abc", values, strict=True)
    ]
    path = write(tmp_path / "d.jsonl", rows)
    assert set(content(load(path))) == {"a"}
    assert set(content(load(path, use_verdicts=False))) == {"a", "b", "c"}
    if column != "answer":
        assert load(path, streaming=True).scan.rows == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("column", ["answer", "status", "was_cancelled"])
def test_column_without_a_value_is_no_verdict(column: str, tmp_path: Path) -> None:
    rows = [{"text": t, "labels": ["x", t], column: value} for t, value in (("a", ""), ("b", None))]
    assert len(content(load(write(tmp_path / "d.jsonl", rows)))) == 2


def test_column_with_other_values_is_no_verdict(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"text": t, "labels": ["x", t], "status": s} for t, s in (("a", "open"), ("b", "sold"))]
    assert len(content(load(write(tmp_path / "d.jsonl", rows)))) == 2
    assert not caplog.messages
    rows.append({"text": "c", "labels": ["x"], "status": "rejected"})
    assert len(content(load(write(tmp_path / "d.jsonl", rows)))) == 3
    assert "column 'status' is not taken for verdicts" in caplog.messages[0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_missing_values_in_label_columns_are_not_judged(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"text": "a", "red": 1.0, "blue": None},
        {"text": "b", "red": 0.0, "blue": 1.0},
        {"text": "c", "red": math.nan, "blue": -1.0},
    ]
    path, options = write(tmp_path / f"d{suffix}", rows), {"label_columns": ["red", "blue"]}
    assert content(load(path, **options)) == {"a": {"red": 1}, "b": {"red": 0, "blue": 1}, "c": {}}
    filled = content(load(path, **options, missing_labels="no_label"))
    assert filled["a"] == {"red": 1, "blue": 0}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("nothing", [None, "", "  ", math.nan])
def test_missing_label_cells_are_not_judged(suffix: str, nothing: Any, tmp_path: Path) -> None:
    if suffix == ".jsonl" and nothing != nothing:
        nothing = None
    rows = [
        {"text": "a", "labels": nothing},
        {"text": "b", "labels": "x;y"},
        {"text": "c", "labels": "y"},
    ]
    path = write(tmp_path / f"d{suffix}", rows)
    assert set(content(load(path, label_delimiter=";"))) == {"b", "c"}
    assert load(path, label_delimiter=";", streaming=True).scan.rows == 2  # type: ignore[attr-defined]
    data = load(path, label_delimiter=";", missing_labels="no_label")
    assert content(data)["a"] == {"x": 0, "y": 0}


def test_null_lists_are_not_judged_and_empty_ones_are_no_label(tmp_path: Path) -> None:
    rows = [{"text": "a", "labels": None}, {"text": "b", "labels": ["x", "y"]}]
    path = write(tmp_path / "d.jsonl", [*rows, {"text": "c", "labels": []}])
    assert content(load(path)) == {"b": {"x": 1, "y": 1}, "c": {"x": 0, "y": 0}}


@pytest.mark.parametrize("yes", ["x", "1", "yes", "✓"])
def test_blanks_beside_marks_are_asked_about(yes: str, tmp_path: Path) -> None:
    rows = [{"text": "a", "red": yes, "blue": ""}, {"text": "b", "red": "", "blue": yes}]
    path, options = write(tmp_path / "d.csv", rows), {"label_columns": ["red", "blue"]}
    for streaming in (False, True):
        with pytest.raises(InputError, match="missing_labels no_label"):
            load(path, **options, streaming=streaming)
    data = load(path, **options, missing_labels="no_label")
    assert content(data)["a"] == {"red": 1, "blue": 0}
    assert content(load(path, **options, missing_labels="unjudged"))["a"] == {"red": 1}


@pytest.mark.parametrize("words", [("yes", "no"), ("Y", "N"), ("TRUE", "FALSE"), ("ja", "nein")])
def test_flags_in_words(words: tuple[str, str], tmp_path: Path) -> None:
    yes, no = words
    rows = [{"text": "a", "red": yes, "blue": no}, {"text": "b", "red": no, "blue": yes}]
    data = load(write(tmp_path / "d.csv", rows), label_columns=["red", "blue"])
    assert content(data) == {"a": {"red": 1, "blue": 0}, "b": {"red": 0, "blue": 1}}


def test_names_in_several_columns(tmp_path: Path) -> None:
    rows = [{"text": "a", "t1": "red", "t2": "sky"}, {"text": "b", "t1": "sky", "t2": None}]
    path = write(tmp_path / "d.csv", rows)
    with pytest.raises(InputError, match="add label_form names"):
        load(path, label_columns=["t1", "t2"])
    data = load(path, label_columns=["t1", "t2"], label_form="names")
    assert content(data) == {"a": {"red": 1, "sky": 1}, "b": {"red": 0, "sky": 1}}


def test_blank_rows_of_a_spreadsheet_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Text alone and labels alone say something, a blank row does not."""
    path = tmp_path / "d.csv"
    path.write_text("text;labels\na;x\n;\nb;\n ; \nc;y\n;y\n")
    data = load(path, missing_labels="no_label", label_form="names")
    assert content(data) == {
        "a": {"x": 1, "y": 0}, "b": {"x": 0, "y": 0}, "": {"x": 0, "y": 1}, "c": {"x": 0, "y": 1}
    }  # fmt: skip
    *_, left_out, empty = caplog.messages
    assert "2 rows without text and label are left out" in left_out
    assert "1 of 4 texts are empty, the first in row 6" in empty


def test_separated_names_in_several_columns(tmp_path: Path) -> None:
    """Two raters, each with a list of tags."""
    rows = [
        {"text": "a", "t1": "red, sky", "t2": "red"}, {"text": "b", "t1": "", "t2": " sky ,"},
        {"text": "c", "t1": ",", "t2": None}, {"text": "d", "t1": "sea", "t2": "sky, red"},
    ]  # fmt: skip
    path = write(tmp_path / "d.csv", rows)
    columns: dict[str, Any] = {"label_columns": ["t1", "t2"], "label_form": "names"}
    with pytest.raises(InputError, match="column 't1', 't2': .* add --label_delimiter ','"):
        load(path, **columns)
    data = load(path, **columns, label_delimiter=",")
    assert content(data) == {
        "a": {"red": 1, "sea": 0, "sky": 1},
        "b": {"red": 0, "sea": 0, "sky": 1},
        "d": {"red": 1, "sea": 1, "sky": 1},
    }
    assert data.reading is not None
    assert "names in several columns, separated by ','" in data.reading.render()


@pytest.mark.parametrize("word", ["nan", "None", "N/A", "<NA>", "NULL", "-", "(no genres listed)"])
def test_words_for_nothing_are_asked_about(word: str, tmp_path: Path) -> None:
    rows = [("a", word), ("b", "x;y"), ("c", "y"), ("d", word)]
    path = tmp_path / "d.csv"
    path.write_text("text,labels\n" + "".join(f"{text},{cell}\n" for text, cell in rows))
    options: dict[str, Any] = {"label_delimiter": ";"}
    with pytest.raises(InputError, match=r"\(2 rows\).*missing_words missing"):
        load(path, **options)
    assert set(content(load(path, **options, missing_words="missing"))) == {"b", "c"}
    assert word in load(path, **options, missing_words="label").label_space.names
    (tmp_path / "n.txt").write_text(f"{word}\nx\ny\n")
    declared = load(path, **options, label_names_file=str(tmp_path / "n.txt"))
    assert word in declared.label_space.names


def test_word_beside_other_labels_is_a_label(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("text,labels\na,NA;x\nb,NA\nc,x\n")
    assert load(path, label_delimiter=";").label_space.names == ("NA", "x")


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("red ", "red", 1),
        ("caf\u00e9", "cafe\u0301", 1),
        ("\u00a0red", "red", 1),
        ("Red", "red", 2),
        ("web dev", "webdev", 2),
        ("r\u0435d", "red", 2),  # a Cyrillic letter
        ("re\u200bd", "red", 2),  # a blank without width
        ("\uff52\uff45\uff44", "red", 2),  # letters of full width
        ("co-op", "co_op", 2),
    ],
)
def test_names_that_look_alike(
    first: str, second: str, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"text": t, "labels": [name, "z"]} for t, name in (("a", first), ("b", second))]
    assert load(write(tmp_path / "d.jsonl", rows)).label_space.num_labels == count + 1
    assert sum("misspelt" in message for message in caplog.messages) == count - 1


@pytest.mark.parametrize(
    ("given", "right"), [(",", ";"), (";", ","), (";", "|"), (",", "\t"), ("|", "\n")]
)
def test_wrong_delimiter_is_refused(given: str, right: str, tmp_path: Path) -> None:
    sets = ["red", "blue", "red;blue", "green;blue", "red;green", "green;red;blue"]
    rows = [{"text": f"t{i}", "labels": cell.replace(";", right)} for i, cell in enumerate(sets)]
    path = write(tmp_path / "d.csv", rows)
    for streaming in (False, True):
        with pytest.raises(InputError) as refusal:
            load(path, label_delimiter=given, streaming=streaming)
        assert f"3 such as 'blue' with label_delimiter {right!r}" in str(refusal.value).replace(
            "\\\\", "\\"
        )
    assert load(path, label_delimiter=right).label_space.num_labels == 3


def test_names_with_commas_are_names(tmp_path: Path) -> None:
    cells = ["Food, other;Sport", "Sport", "Food, other", "Home, garden and pets;Sport"]
    rows = [{"text": f"t{i}", "labels": cell} for i, cell in enumerate(cells)]
    data = load(write(tmp_path / "d.csv", rows), label_delimiter=";")
    assert data.label_space.names == ("Food, other", "Home, garden and pets", "Sport")


def test_made_up_names_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"text": "a", "labels": [1.0, 0.0]}, {"text": "b", "labels": [0.0, 1.0]}]
    load(write(tmp_path / "d.jsonl", rows))
    assert "LABEL_0" in caplog.messages[0]
    assert "label_names_file" in caplog.messages[0]


def test_folder_of_csv_files_means_what_its_files_mean(tmp_path: Path) -> None:
    rows = [("NA", "NA;x"), ("1e5", "None"), ("c", "007;NA;None"), ("d", "x;True;007;null")]
    for split in ("train", "validation", "test"):
        with (tmp_path / f"{split}.csv").open("w") as file:
            file.write("text,labels\n" + "".join(f"{text},{cell}\n" for text, cell in rows))
    files = {f"{s}_file": str(tmp_path / f"{s}.csv") for s in ("train", "validation", "test")}
    options: dict[str, Any] = {"label_delimiter": ";"}
    as_files = load_data(DataArguments(**files, **options))
    as_folder = load_data(DataArguments(dataset_name=str(tmp_path), **options))
    assert as_folder.label_space == as_files.label_space
    assert as_folder.label_space.names == ("007", "NA", "None", "True", "null", "x")
    assert as_folder.splits["test"].to_list() == as_files.splits["test"].to_list()
