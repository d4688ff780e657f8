"""Label cells with structures: read as what they hold, whichever library wrote them."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zlpr_hf import InputError
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.written_cells import StructureError, parse_bare, parse_written, unpack
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

SETS = [["red", "deep blue"], ["red"], [], ["deep blue", "it's, so"]]


def load(path: Path, **options: object) -> LabelledData:
    files = {f"{split}_file": str(path) for split in ("train", "validation", "test")}
    return load_data(DataArguments(**files, **options))  # type: ignore[arg-type]


def names_of(data: LabelledData) -> list[set[str]]:
    names = data.label_space.names
    return [{names[i] for i in ids} for ids in data.splits["train"]["label_ids"]]


WRITERS = {
    "Python lists": str,
    "JSON": json.dumps,
    "tuples": lambda names: str(tuple(names)),
    "sets": lambda names: str(set(names)),
    "frozensets": lambda names: str(frozenset(names)),
    "arrays of numpy as str": lambda names: str(np.array(names, dtype=str)),
    "arrays of numpy as repr": lambda names: repr(np.array(names, dtype=str)),
    "arrays of objects": lambda names: str(np.array(names, dtype=object)),
    "choices": lambda names: json.dumps({"choices": names}),
    "labels of Python": lambda names: str({"labels": names}),
    "objects": lambda names: json.dumps([{"id": 7, "name": name} for name in names]),
    "objects of Python": lambda names: str([{"Title": name, "n": None} for name in names]),
    "objects with choices": lambda names: json.dumps([{"choices": [name]} for name in names]),
    "flags by name": lambda names: json.dumps(
        {name: int(name in names) for each in SETS for name in each}
    ),
    "truths by name": lambda names: str({name: name in names for each in SETS for name in each}),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("delimiter", [None, ",", ";"])
def test_names_in_structures(writer: str, delimiter: str | None, tmp_path: Path) -> None:
    cells = [WRITERS[writer](names) for names in SETS]
    frame = pd.DataFrame({"text": list("abcd"), "labels": cells})
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    for name in ("d.csv", "d.jsonl"):
        data = load(tmp_path / name, label_delimiter=delimiter)
        assert names_of(data) == [set(names) for names in SETS]


VECTORS = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    "write",
    [
        lambda row: str(row),
        lambda row: str(row.astype(float)),
        lambda row: repr(row.astype("float32")),
        lambda row: str(row.tolist()),
        lambda row: str(tuple(row.tolist())),
        lambda row: str(torch.tensor(row)),
        lambda row: str(row.astype(bool).tolist()),
        lambda row: json.dumps(row.astype(bool).tolist()),
        lambda row: "{" + ",".join(map(str, row)) + "}",
    ],
)
def test_vectors_in_cells(write: object, tmp_path: Path) -> None:
    cells = [write(row) for row in VECTORS]  # type: ignore[operator]
    pd.DataFrame({"text": list("abc"), "labels": cells}).to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "n.txt").write_text("z\ny\nx\n")
    data = load(
        tmp_path / "d.csv", label_form="multi_hot", label_names_file=str(tmp_path / "n.txt")
    )
    assert data.label_space.names == ("z", "y", "x")
    assert (data.targets("train") == VECTORS).all()


def test_vectors_of_integers_may_be_ids(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('text,labels\na,"[1, 0]"\nb,"[0, 1]"\n')
    with pytest.raises(InputError, match="may be ids or 0/1 flags; say label_form"):
        load(tmp_path / "d.csv", label_delimiter=",")


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["[red, deep blue]", "[red]", "[]"], [{"red", "deep blue"}, {"red"}, set()]),
        (['{red,"deep blue"}', "{red}", "{}"], [{"red", "deep blue"}, {"red"}, set()]),
        (["<red><blue>", "<red>", "<c++>"], [{"red", "blue"}, {"red"}, {"c++"}]),
        (["[red]", "[blue];green", "green"], [{"[red]"}, {"[blue]", "green"}, {"green"}]),
    ],
)
def test_names_in_brackets_without_quotes(
    cells: list[str], wanted: list[set[str]], tmp_path: Path
) -> None:
    """A column is a list only if all of its cells are; else brackets belong to the names."""
    pd.DataFrame({"text": list("abc"), "labels": cells}).to_csv(tmp_path / "d.csv", index=False)
    assert names_of(load(tmp_path / "d.csv", label_delimiter=";")) == wanted


@pytest.mark.parametrize(
    "cell",
    [
        "[red, blue]",  # beside plain cells, the delimiter would cut it apart
        '{"choices": ["red", "blue"',
        str(np.zeros(2000)),
        '[["red", "blue"]]',
        '[{"label": 3, "user": 1}]',
        '[{"label": "red", "score": 0.2}]',
        '[{"start": 1, "end": 2}]',
        '{"red": "yes", "blue": ["no"]}',
    ],
)
def test_structures_without_one_reading_are_refused(cell: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "labels": ["red", cell]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(InputError, match="row 2"):
        load(tmp_path / "d.csv", label_delimiter=",")


def test_numpy_strings_are_not_joined() -> None:
    """Python reads ['a' 'b'] as ['ab']."""
    assert parse_written("['a' 'b'\n 'c']") == ["a", "b", "c"]
    assert parse_written("['a' 'b', 'c']") is None


@pytest.mark.parametrize("text", ["[" * 5000, "{" * 5000 + "}" * 5000, "[" + "9" * 5000 + "]", "("])
def test_hostile_cells_end_quickly(text: str) -> None:
    value = parse_written(text)
    assert value is None or isinstance(value, list)


def test_code_in_cells_is_not_run() -> None:
    assert parse_written("[__import__('os').getcwd()]") is None


def test_objects_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "labels": {"red": 1.0, "blue": 0.0}},
        {"text": "b", "labels": {"red": 0.25}},
        {"text": "c", "labels": {"blue": True, "red": None}},
    ]
    path = tmp_path / "d.jsonl"
    rows[2]["labels"]["blue"] = 1.0  # type: ignore[index]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load(path)
    assert data.label_space.names == ("blue", "red")
    targets = data.targets("train")
    assert targets[0].tolist() == [0, 1]
    assert math.isnan(targets[1, 0])
    assert targets[1, 1] == 0.25
    assert math.isnan(targets[2, 1])


def test_unpack_and_bare_names() -> None:
    assert unpack({"taxonomy": ["a"], "more": None}) == ["a"]
    assert parse_bare("[a] b") is None
    with pytest.raises(StructureError, match="list of lists"):
        unpack([["a"]])
