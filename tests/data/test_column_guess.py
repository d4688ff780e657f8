"""Columns that are guessed from the first rows, and files that leave a question open."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zlpr_hf.data.column_guess import guess_columns
from zlpr_hf.data.column_kinds import find_kind
from zlpr_hf.data.label_candidates import looks_like_labels
from zlpr_hf.data.row_file import FileOptions
from zlpr_hf.data.sample_rows import SAMPLE_ROWS, read_sample
from zlpr_hf.errors import InputError

NAMES = ("price", "delivery", "quality")
WORDS = "the lamp is nice but came late so we had it sent back to them last week".split()
Maker = Callable[[random.Random], Any]


def prose(words: int) -> Maker:
    return lambda r: " ".join(r.choices(WORDS, k=r.randint(words - 2, words + 2))) + "."


def labels(separator: str, least: int = 1) -> Maker:
    return lambda r: separator.join(r.sample(NAMES, r.randint(least, 2)))


def one_of(*values: Any) -> Maker:
    return lambda r: r.choice(values)


TEXT = prose(12)
NUMBER = lambda r: r.randint(0, 500)  # noqa: E731


def write(path: Path, columns: dict[str, Maker], rows: int = 60) -> Path:
    draw = random.Random(0)
    cells = [{name: make(draw) for name, make in columns.items()} for _ in range(rows)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in cells))
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(cells)
    return path


def guess(path: Path, **given: Any) -> dict[str, Any]:
    sample = read_sample(str(path), FileOptions(tuple(given.get("column_names", ()))))
    return guess_columns(sample, given, command=f"zlpr train {path.name}").options


def ask(path: Path, **given: Any) -> str:
    with pytest.raises(InputError) as error:
        guess(path, **given)
    return str(error.value)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"b": TEXT, "c": labels(";")}, {"label_column": "c", "label_delimiter": ";"}),
        ({"c": labels(", "), "b": TEXT}, {"label_column": "c", "label_delimiter": ","}),
        ({"b": TEXT, "c": labels("|", 0)}, {"label_column": "c", "label_delimiter": "|"}),
        # Columns that are no labels beside the one that is.
        (
            {
                "id": NUMBER, "date": one_of("2026-01-02", "2026-01-03"), "b": TEXT,
                "stars": one_of(1, 2, 3), "site": one_of("https://a.org/1", "https://b.org/2"),
                "by": one_of("Ann Lee", "Bob Ray"), "c": labels(";"), "empty": one_of(""),
            },
            {"label_column": "c", "label_delimiter": ";"},
        ),
        ({"b": TEXT, "c": one_of("good", "bad", "so so")},
         {"label_column": "c", "label_form": "names"}),
        ({"b": one_of("This text is here more than once.", "And so is this one, it seems."),
          "c": one_of(*NAMES)}, {"label_column": "c", "join_rows": True}),
        # Words with a place of their own are one name.
        ({"b": TEXT, "c": one_of("Berlin, Germany", "Paris, France", "Rome, Italy")},
         {"label_column": "c", "label_form": "names"}),
        ({"n": NUMBER, "b": TEXT, "x": one_of(0, 1), "y": one_of(0, 1), "z": one_of(0)},
         {"label_columns": ["x", "y", "z"]}),
        ({"b": TEXT, "x": one_of(0, 1, -1), "y": one_of("0", "1", "")},
         {"label_columns": ["x", "y"]}),
        ({"b": TEXT, "x": one_of("yes", "no"), "y": one_of("no", "yes")},
         {"label_columns": ["x", "y"]}),
        # One number per label, written with a separator.
        ({"b": TEXT, "c": lambda r: ",".join(r.choices("01", k=5))},
         {"label_column": "c", "label_form": "multi_hot", "label_delimiter": ","}),
        ({"b": TEXT, "c": lambda r: " ".join(r.choices("01", k=5))},
         {"label_column": "c", "label_form": "multi_hot", "label_delimiter": " "}),
        ({"b": TEXT, "c": lambda r: "|".join(r.choices(["0.0", "1.0"], k=5))},
         {"label_column": "c", "label_form": "multi_hot", "label_delimiter": "|"}),
        ({"b": TEXT, "c": lambda r: str(r.choices([0, 1], k=5))},
         {"label_column": "c", "label_form": "multi_hot"}),
        # Columns of names decide between those that look alike.
        ({"b": TEXT, "x": labels(";"), "Tags": labels(";")},
         {"label_column": "Tags", "label_delimiter": ";"}),
        ({"title": prose(4), "b": prose(40), "c": labels(";")},
         {"label_column": "c", "label_delimiter": ";"}),
    ],
)  # fmt: skip
def test_columns_of_unknown_names(
    columns: dict[str, Maker], expected: dict[str, Any], tmp_path: Path
) -> None:
    assert guess(write(tmp_path / "f.csv", columns)) == {"text_column": "b"} | expected


@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize(
    ("maker", "expected"),
    [(labels(";"), {"label_delimiter": ";"}), (one_of(*NAMES), {"label_form": "names"})],
    ids=["several names", "one name"],
)
def test_joining_rows_keeps_the_form_of_the_labels(
    maker: Maker, expected: dict[str, Any], join: bool, tmp_path: Path
) -> None:
    found = guess(write(tmp_path / "f.csv", {"b": TEXT, "c": maker}), join_rows=join)
    expected = {} if join and "label_form" in expected else expected  # join_rows says so
    assert found == {"text_column": "b", "label_column": "c"} | expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"b": TEXT, "c": lambda r: r.sample(NAMES, 2)}, {"label_column": "c"}),
        ({"b": TEXT, "c": lambda r: {name: r.random() for name in NAMES}}, {"label_column": "c"}),
        ({"b": TEXT, "tokens": lambda r: r.choices(WORDS, k=9), "c": lambda r: r.sample(NAMES, 2),
          "meta": one_of({"source": "web"}, {"source": "app"})}, None),
        ({"b": TEXT, "c": lambda r: r.choices([0, 1], k=5)},
         {"label_column": "c", "label_form": "multi_hot"}),
    ],
)  # fmt: skip
def test_lists_and_objects(
    columns: dict[str, Maker], expected: dict[str, Any] | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "f.jsonl", columns)
    if expected is None:  # tokens are no labels; a list of names and an object of one are alike
        assert "tokens" not in ask(path).partition("Name them")[0]
    else:
        assert guess(path) == {"text_column": "b"} | expected


def test_given_options_are_kept(tmp_path: Path) -> None:
    columns = {"p": TEXT, "q": TEXT, "x": labels(";"), "y": labels(";")}
    path = write(tmp_path / "f.csv", columns)
    found = {"label_delimiter": ";"}
    assert guess(path, text_column="q", label_column="y") == found
    assert guess(path, text_column="p", text_pair_column="q", label_column="x") == found
    assert guess(path, text_column="p", label_column="x", label_delimiter=";") == {}
    assert guess(path, text_pair_column="q", label_column="x") == {"text_column": "p"} | found
    assert guess(path, text_column="p", label_columns=["x", "y"], label_form="names") == {}
    assert "'z'" in ask(path, text_column="p", label_column="z")
    assert "'z'" in ask(path, text_column="z")


def test_columns_with_one_name_each_may_be_one_set_of_labels(tmp_path: Path) -> None:
    columns = {"b": TEXT, "label1": one_of(*NAMES), "label2": one_of(*NAMES)}
    question = ask(write(tmp_path / "f.csv", columns))
    assert "--label_columns label1 label2 --label_form names" in question
    sample = read_sample(str(tmp_path / "f.csv"), FileOptions())
    given = {"label_columns": ["label1", "label2"], "label_form": "names"}
    shown = guess_columns(sample, given, command="zlpr train f.csv").render()
    assert "labels: label1, label2, names in several columns" in shown
    assert "one column per label" not in shown
    columns["label2"] = one_of("other", "words", "only")
    assert "--label_columns" not in ask(write(tmp_path / "g.csv", columns))


def test_numbers_per_label_are_not_names_between_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", {"b": TEXT, "c": lambda r: ",".join(r.choices("01", k=4))})
    found = guess(path, label_column="c", label_delimiter=",")
    assert found == {"text_column": "b", "label_form": "multi_hot"}


def test_default_names_come_first(tmp_path: Path) -> None:
    columns = {"body": prose(40), "text": TEXT, "labels": labels(";"), "more": labels(",")}
    path = write(tmp_path / "f.csv", columns)
    expected = {"text_column": "text", "label_column": "labels", "label_delimiter": ";"}
    assert guess(path) == expected


@pytest.mark.parametrize(
    ("columns", "candidates"),
    [
        ({"p": TEXT, "q": TEXT, "c": labels(";")}, ["--text_column p", "q"]),
        ({"b": TEXT, "x": labels(";"), "y": labels(",")}, ["--label_column x", "y"]),
        ({"b": TEXT, "x": labels(";"), "y": one_of(0, 1), "z": one_of(0, 1)},
         ["--label_columns y z", "x (split"]),
        ({"b": TEXT, "n": NUMBER}, ["--label_column NAME", "n (numbers)"]),
        ({"b": TEXT, "d": one_of("1.2.2026", "3.4.2026")}, ["d (dates)"]),
        ({"b": TEXT, "u": one_of("u17", "u18", "u19")}, ["--label_column NAME"]),
        ({"b": TEXT, "s": one_of("train", "test")}, ["s (names of splits)"]),
        ({"n": NUMBER, "c": labels(";")}, ["--text_column NAME"]),
        ({"b": TEXT}, ["the only column is b"]),
        ({"b": TEXT, "labels": NUMBER}, ["--label_form ids"]),
        ({"b": TEXT, "c": lambda r: ",".join(r.sample("123456", 3))},
         ["--label_column c --label_form ids --label_delimiter ','", "--label_names_file FILE"]),
        ({"b": TEXT, "c": lambda r: str(r.sample(range(9), 2))},
         ["--label_column c --label_form ids --label_names_file FILE"]),
        ({"b": TEXT, "labels": lambda r: " ".join(r.sample("123456", 3))},
         ["--label_form ids --label_delimiter ' '"]),
        # Two readings of one column.
        ({"b": TEXT, "c": one_of("Health, Beauty", "Sports", "Toys, Games")},
         ["--label_delimiter ','", "--label_form names"]),
        ({"b": TEXT, "c": lambda r: " ".join(r.sample("abc", 2))},
         ["--label_delimiter ' '", "--label_form names"]),
        ({"b": TEXT, "c": one_of("none", "price;quality", "delivery;price")}, ["'none'"]),
        ({"b": TEXT, "p": one_of("x", ""), "q": one_of("x", "")}, ["--missing_labels no_label"]),
    ],
)  # fmt: skip
def test_open_questions_name_the_candidates(
    columns: dict[str, Maker], candidates: list[str], tmp_path: Path
) -> None:
    message = ask(write(tmp_path / "f.csv", columns))
    assert all(each in message for each in candidates), message
    assert message.startswith(str(tmp_path / "f.csv"))


def test_a_wrong_separator_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", {"b": TEXT, "c": labels(";", 2)})
    assert "--label_delimiter ';'" in ask(path, label_delimiter=",")
    assert guess(path, label_delimiter=";") == {"text_column": "b", "label_column": "c"}


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", {"n": NUMBER, "b": TEXT, "c": labels(";")})
    path.write_text(path.read_text().partition("\n")[2])
    message = ask(path)
    assert "--column_names column_1 text labels" in message
    found = guess(path, column_names=["a", "b", "c"])
    assert found == {"text_column": "b", "label_column": "c", "label_delimiter": ";"}


def test_questions_of_a_survey_are_a_header(tmp_path: Path) -> None:
    question = "How did you like the lamp that you bought from us last week"
    path = write(tmp_path / "f.csv", {question: TEXT, "c": labels(";")})
    assert "--column_names" in ask(path)
    assert guess(path, text_column=question)["label_column"] == "c"


def test_only_the_first_rows_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", {"b": TEXT, "c": labels(";")}, rows=SAMPLE_ROWS + 50)
    path.write_text(path.read_text() + "too,many,cells\n")
    sample = read_sample(str(path))
    assert (len(sample.rows), sample.is_whole) == (SAMPLE_ROWS, False)
    assert "first 1,000 rows" in guess_columns(sample, {}, command="zlpr train f.csv").render()


def test_rows_without_labels_are_mentioned(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", {"b": TEXT, "c": lambda r: r.choice([labels(";")(r), ""])})
    sample = read_sample(str(path))
    unlabelled = sum(not row["c"] for row in sample.rows)
    (note,) = guess_columns(sample, {}, command="").notes
    assert note.startswith(f"{unlabelled} rows")
    assert not guess_columns(sample, {"missing_labels": "no_label"}, command="").notes


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 0, None], "flags"), (["1.0", "0.0"], "flags"), ([True, False], "flags"),
        (["1", "1"], "numbers"), (["1", ""], "flags"), ([0, 2], "numbers"), (["3,5"], "numbers"),
        (["no", "yes"], "yes/no"), (["x", None], "yes/no"), (["", None, float("nan")], "empty"),
        (["12/03/24", "3.4.2024"], "dates"), (["a@b.org", "c@d.org"], "addresses"),
        ([f"doc-{i}" for i in range(9)], "ids"), (["train", "val"], "splits"),
        ([["a"], None], "lists"), (["a b", "c"], "text"), (["今天天气很好", "价格便宜"], "text"),
    ],
)  # fmt: skip
def test_kinds_of_columns(cells: list[Any], kind: str) -> None:
    assert find_kind(cells) == kind


def test_names_that_recur_look_like_labels() -> None:
    assert looks_like_labels([["a"], ["a", "b"], ["b"]], 0.6)
    assert not looks_like_labels([["a"], ["b"], ["c"]], 0.6)
    assert not looks_like_labels([["a"], ["a"]], 0.6)  # the same in all rows
    assert not looks_like_labels([["a", "a"], ["b", "a"], ["b"]], 0.6)  # words of a text
    assert not looks_like_labels([["1"], ["2"], ["1"], ["2"]], 0.6)


@pytest.mark.parametrize("sign", [" / ", "/", "+", " & "])
def test_signs_that_may_be_a_part_of_names_are_asked_about(sign: str, tmp_path: Path) -> None:
    path = write(tmp_path / "texts.csv", {"body": TEXT, "tags": labels(sign)}, rows=200)
    assert f"--label_delimiter '{sign.strip()}'" in ask(path)
    given = guess(path, label_delimiter=sign.strip())
    assert given == {"text_column": "body", "label_column": "tags"}


def test_names_with_a_sign_are_no_question(tmp_path: Path) -> None:
    columns = {"body": TEXT, "topic": one_of("TV/radio", "R&D", "sport")}
    assert guess(write(tmp_path / "texts.csv", columns))["label_form"] == "names"


def test_labels_that_are_not_chosen_are_mentioned(tmp_path: Path) -> None:
    columns = {
        "body": TEXT,
        "verified": one_of(0, 1),
        "paid": one_of(0, 1),
        "kind": one_of("a", "b"),
    }
    sample = read_sample(str(write(tmp_path / "texts.csv", columns)))
    found = guess_columns(sample, {}, command="zlpr train texts.csv")
    assert found.options["label_columns"] == ["verified", "paid"]
    assert any("kind" in note for note in found.notes)
