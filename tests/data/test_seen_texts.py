"""Rows keep the split of an earlier run; texts that a model was trained on are counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from zlpr_hf import InputError
from zlpr_hf.data.dataset import LabelledData, build_labelled_data
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.seen_texts import SEEN_FILE, SeenTexts, hash_texts
from zlpr_hf.data.sources import Source

Rows = list[dict[str, Any]]
DRAWING = (0.1, 0.1, 0)


def make_rows(count: int, start: int = 0) -> Rows:
    """Different texts with labels that repeat."""
    return [
        {"text": f"text number {i}", "labels": [["red"], ["green"], ["red", "blue"]][i % 3]}
        for i in range(start, start + count)
    ]


def build(
    rows: Rows, *known: SeenTexts, more: dict[str, Rows] | None = None, **options: Any
) -> Any:
    splits = {"train": rows, **(more or {})}
    data = DatasetDict({name: Dataset.from_list(each) for name, each in splits.items()})
    source = Source(data, {name: f"{name}.jsonl" for name in splits})
    return build_labelled_data(source, LabelColumns(join_rows=False), known=known, **options)


def record(data: LabelledData, earlier: SeenTexts | None = None) -> SeenTexts:
    return SeenTexts.from_data(data, DRAWING, earlier)


def texts(data: LabelledData) -> dict[str, set[str]]:
    return {name: set(rows["text"]) for name, rows in data.splits.items()}


@pytest.mark.parametrize("place", [0, 57, 120])
def test_added_row_moves_no_other_row(place: int) -> None:
    rows = make_rows(120)
    before = build(rows)
    grown = [*rows[:place], {"text": "one more", "labels": ["red"]}, *rows[place:]]
    after = build(grown, record(before))
    for name, known in texts(before).items():
        assert known <= texts(after)[name]
    assert texts(after)["train"] - texts(before)["train"] == {"one more"}
    drawn_anew = texts(build(grown))
    moved = (drawn_anew["test"] | drawn_anew["validation"]) & texts(before)["train"]
    assert len(moved) > 5  # the fault that the record prevents


def test_new_rows_are_split_by_the_same_shares() -> None:
    before = build(make_rows(120))
    after = build(make_rows(420), record(before), validation_size=0.2, test_size=0.1)
    for name, known in texts(before).items():
        assert known <= texts(after)[name]
    new = {name: len(found) - len(texts(before)[name]) for name, found in texts(after).items()}
    assert sum(new.values()) == 300
    assert new["test"] == pytest.approx(30, abs=4)
    assert new["validation"] == pytest.approx(0.2 * 270, abs=5)


def test_order_and_labels_of_known_rows_do_not_matter() -> None:
    rows = make_rows(90)
    before = build(rows)
    changed = [{"text": f" {row['text']}\n", "labels": ["a", "b"]} for row in reversed(rows)]
    after = build(changed, record(before), split_seed=7)
    assert {
        name: {text.strip() for text in found} for name, found in texts(after).items()
    } == texts(before)


def test_all_rows_known_gives_the_identical_splits() -> None:
    rows = make_rows(90) + make_rows(5)  # five texts twice
    before = build(rows)
    after = build(rows, record(before))
    assert after.fingerprints() == before.fingerprints()


def test_new_rows_follow_their_group() -> None:
    rows = [row | {"author": f"author {i // 3}"} for i, row in enumerate(make_rows(120))]
    before = build(rows, group_column="author")
    new = [row | {"author": f"author {i % 40}"} for i, row in enumerate(make_rows(40, 200))]
    after = build([*rows, *new], record(before), group_column="author")
    author = {row["text"]: row["author"] for row in [*rows, *new]}
    seen: dict[str, str] = {}
    for name, found in texts(after).items():
        assert texts(before)[name] <= found
        for text in found:
            assert seen.setdefault(author[text], name) == name


def test_group_with_a_row_that_was_trained_on_stays_in_training() -> None:
    rows = make_rows(120)
    before = build(rows)
    one_group = [texts(before)[name].pop() for name in ("train", "test", "validation")]
    grouped = [row | {"author": "one" if row["text"] in one_group else row["text"]} for row in rows]
    after = build(grouped, record(before), group_column="author")
    assert set(one_group) <= texts(after)["train"]


def test_splits_that_are_given_stay_as_they_are() -> None:
    before = build(make_rows(120))
    given = make_rows(20)
    after = build(make_rows(100, 20), record(before), more={"test": given})
    assert texts(after)["test"] == {row["text"] for row in given}
    known = texts(before)["validation"] - texts(after)["test"]
    assert known <= texts(after)["validation"]


def test_without_untrained_rows_the_splits_are_drawn_and_can_be_counted() -> None:
    rows = make_rows(60)
    own = {"validation": make_rows(9, 100), "test": make_rows(9, 200)}
    trained_on_all = record(build(rows, more=own))
    data = build(rows, trained_on_all)
    assert data.fingerprints() == build(rows).fingerprints()
    assert trained_on_all.count(data.texts("test"))["train"] == len(data.texts("test")) > 0


def test_unused_training_rows_keep_their_split_but_were_not_trained_on() -> None:
    rows = make_rows(120)
    whole = build(rows)
    part = build(rows, max_train_samples=10)
    seen = record(part)
    assert texts(build(rows, seen, split_seed=3)) == texts(whole)
    assert seen.count(whole.texts("train")) == {"train": 10, "validation": 0}


def test_folds_are_those_of_the_rows_that_are_used() -> None:
    rows = make_rows(30) + [{"text": f"other {i}", "labels": ["white"]} for i in range(200)]
    data = build(rows, max_train_samples=25, folds=5)
    assert data.splits["train"]["text"] == [row["text"] for row in rows[:25]]
    assert np.bincount(data.folds).tolist() == [5] * 5
    assert len(data.unused) == 205
    assert "white" in data.label_space.names
    with pytest.raises(InputError, match="max_train_samples.*folds"):
        build(rows, max_train_samples=4, folds=5)


def test_texts_without_content_are_new_to_every_run() -> None:
    for texts in ([("",), ("a",)], [("", " "), ("", "a")]):
        seen = SeenTexts({"train": hash_texts(texts)})
        assert seen.count(texts)["train"] == 1
        assert seen.find_trained(texts).tolist() == [False, True]
        assert seen.places(texts) == [None, "train"]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("blank", [1, 24])
def test_rows_without_a_text_keep_their_split(blank: int, grouped: bool) -> None:
    """They are training rows, or follow their group."""
    rows = make_rows(100)
    for number in range(blank):
        rows.insert(4 * number, {"text": " ", "labels": ["red"]})
    options: dict[str, Any] = {}
    if grouped:
        rows = [row | {"author": f"{number // 3}"} for number, row in enumerate(rows)]
        options = {"group_column": "author"}
    for seed in range(5):
        data = build(rows, **options, split_seed=seed)
        again = build(rows, record(data), **options, split_seed=seed)
        assert again.fingerprints() == data.fingerprints()
        assert min(map(len, data.splits.values())) > 5
        if not grouped:
            assert sum(not text.strip() for text in data.splits["train"]["text"]) == blank


def test_counts_agree_with_sets_of_texts() -> None:
    first = build(make_rows(120))
    second = build(make_rows(60, 300), record(first))
    seen = record(second, record(first))
    trained = texts(first)["train"] | texts(second)["train"]
    asked = [(row["text"],) for row in make_rows(500)]
    expected = {
        "train": sum(text in trained for (text,) in asked),
        "validation": sum(text in texts(second)["validation"] for (text,) in asked),
    }
    assert seen.count(asked) == expected
    assert expected["train"] > 100
    tuned = seen.with_validation([("text number 499",)])
    assert tuned.count(asked) == expected | {"validation": expected["validation"] + 1}


def test_fingerprint_is_of_all_texts_of_a_row() -> None:
    rows = [("a b", "c"), ("a", "b c"), ("a b c",), ("a b", "d"), ("c", "a b"), ("A b", "c")]
    assert len(set(hash_texts(rows).tolist())) == len(rows)
    assert hash_texts([(" a\n b", "c ")]) == hash_texts(rows[:1])
    assert len(hash_texts([("\ud800",), ("é",)])) == 2  # a lone surrogate, of a damaged file


def test_record_is_found_beside_the_model_and_its_checkpoints(tmp_path: Path) -> None:
    seen = record(build(make_rows(60)))
    seen.save(tmp_path)
    (tmp_path / "checkpoint-20").mkdir()
    for place in (tmp_path, tmp_path / "checkpoint-20"):
        found = SeenTexts.find(place)
        assert found is not None
        assert found.drawing == DRAWING
        assert {name: each.tolist() for name, each in found.splits.items()} == {
            name: each.tolist() for name, each in seen.splits.items()
        }
    assert SeenTexts.find(tmp_path / "other") is None
    (tmp_path / SEEN_FILE).write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match=SEEN_FILE):
        SeenTexts.find(tmp_path)
