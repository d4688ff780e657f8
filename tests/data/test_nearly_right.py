"""A file that is almost right ends in one line with the probable remedy."""

from pathlib import Path

import pytest

from zlpr_hf.data.columns import check_column
from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.row_reader import RowReader
from zlpr_hf.data.sources import load_source
from zlpr_hf.errors import InputError

ROWS = "".join(
    f"text {i},{names}\n" for i, names in enumerate(["red;blue", "red", "blue", "red;blue"] * 3)
)


def read(path: Path, content: str | bytes, **labels: object) -> LabelledData:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    columns = LabelColumns(**({"delimiter": ";"} | labels))  # type: ignore[arg-type]
    return build_labelled_data(load_source(files={"train": str(path)}), columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "Text,labels\na,b\n", 'Did you mean "Text"?'),
        ("a.csv", "text, labels \na,b\n", 'Did you mean " labels "?'),
        ("a.csv", "I paid 3 euros,red\na,b\n", "is the first line a row?"),
        ("a.csv", "text,labels\na,b,c\n", "got 3 (a cell with ',' in it needs quotes)"),
        (
            "a.csv",
            "text,labels\na,é\n".encode("cp1252"),
            "line 2: expected UTF-8 text, byte 3 is not; save the file as UTF-8",
        ),
        ("a.xlsx", b"PK", "save the sheet as CSV UTF-8"),
        ("a.csv", "text,labels\na,x;y\n", "give the split as a file, or more rows"),
    ],
)
def test_the_probable_remedy_is_named(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        read(tmp_path / name, content)
    assert message in str(refusal.value)


def test_folder_given_as_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder: name a file in it"):
        load_source(files={"train": str(tmp_path)})


def test_columns_in_one_word(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="'red,blue' for .* into label_columns, separated by spaces"
    ):
        read(tmp_path / "a.csv", "text,red,blue\na,1,0\n", columns=("red,blue",))


def test_warnings_of_empty_texts_and_two_spellings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ROWS + "".join(f"more {i},Red\n" for i in range(4)) + '" ",blue\n,blue\n'
    read(tmp_path / "a.csv", f"text,labels\n{rows}")
    assert [record.getMessage().partition(", column ")[2] for record in caplog.records][:1] == [
        "'text': 2 of 18 texts are empty, the first in row 17; merged cells of a spreadsheet?"
    ]
    assert caplog.messages[1].endswith("'Red' and 'red' are two labels; is one of them misspelt?")
    caplog.clear()
    read(tmp_path / "b.csv", f"text,labels\n{ROWS}")
    assert not caplog.messages


def test_predict_names_the_option_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Text id\na 1\n")
    with pytest.raises(InputError, match="--text_column"):
        RowReader(str(path), "csv", text_columns=["text"])


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("text_column", "text_pair_column"),
        ("--text_column", "text_pair_column"),
        ("label_column and label_columns", "label_columns"),
    ],
)
def test_several_columns_lead_to_the_option_for_them(option: str, other: str) -> None:
    with pytest.raises(InputError, match=f"no column 'a,b' .* go.* into {other}"):
        check_column("a,b", ["a", "b", "c"], origin="x.csv", of="the values", option=option)
