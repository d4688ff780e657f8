"""Splits in one form: texts checked, labels encoded, groups kept together, profile counted."""

import logging
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from zlpr_hf import InputError
from zlpr_hf.data import splits
from zlpr_hf.data.dataset import build_labelled_data
from zlpr_hf.data.encoding import encode
from zlpr_hf.data.label_columns import LabelColumns
from zlpr_hf.data.profile import compute_profile
from zlpr_hf.data.sources import Source
from zlpr_hf.data.splits import split_rows


def source(**splits: list[dict[str, object]]) -> Source:
    data = DatasetDict({name: Dataset.from_list(rows) for name, rows in splits.items()})
    return Source(data, {name: f"{name}.jsonl" for name in splits})


def test_missing_splits_are_stratified(colour_rows: list[dict[str, object]]) -> None:
    data = build_labelled_data(source(train=colour_rows), LabelColumns(), test_size=0.25)
    again = build_labelled_data(source(train=colour_rows), LabelColumns(), test_size=0.25)
    other = build_labelled_data(
        source(train=colour_rows), LabelColumns(), test_size=0.25, split_seed=1
    )
    assert data.splits["test"].to_list() == again.splits["test"].to_list()
    assert data.splits["test"].to_list() != other.splits["test"].to_list()
    assert data.splits["test"].num_rows == pytest.approx(30, abs=2)
    assert sum(rows.num_rows for rows in data.splits.values()) == 120
    shares = [data.targets(name).mean(0) for name in ("train", "test")]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.05)


def sets_of(matrix: np.ndarray) -> list[list[str]]:
    return [[f"l{label}" for label in np.flatnonzero(row)] for row in matrix]


def test_groups_stay_together() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300).tolist()
    sets = sets_of(rng.random((300, 4)) < 0.3)
    first, second = split_rows(sets, size=0.2, seed=0, groups=groups)
    assert not {groups[i] for i in first} & {groups[i] for i in second}
    assert sorted([*first, *second]) == list(range(300))
    with pytest.raises(InputError, match="off 1 groups; one side is empty"):
        split_rows([["a"], ["b"], ["c"]], size=0.3, seed=0, groups=["x"] * 3)
    with pytest.raises(InputError, match="between 0 and 1, got 1"):
        split_rows([["a"], ["b"], ["c"]], size=1.0, seed=0)


def test_large_shares_of_few_rows_are_refused() -> None:
    for size in (0.51, 0.6, 0.9):
        with pytest.raises(InputError, match="one side is empty"):
            split_rows([["a"], ["b"]], size=size, seed=0)


def test_given_splits_must_not_share_a_group() -> None:
    row = {"text": "red", "labels": ["a", "b"], "author": 7}
    with pytest.raises(InputError, match=r"group 7 is in train\.jsonl and in test\.jsonl"):
        build_labelled_data(source(train=[row], test=[row]), LabelColumns(), group_column="author")


def test_unseen_labels(caplog: pytest.LogCaptureFixture) -> None:
    train = [{"text": "x", "labels": ["a", "b"]}]
    test = [{"text": "y", "labels": ["a"]}, {"text": "z", "labels": ["a", "new"]}]
    splits = source(train=train, validation=train, test=test)
    with pytest.raises(
        InputError, match=r"test\.jsonl, row 2: label 'new' does not occur in the training"
    ):
        build_labelled_data(splits, LabelColumns())
    with caplog.at_level(logging.WARNING):
        data = build_labelled_data(splits, LabelColumns(), unseen_labels="drop")
    assert data.dropped == {"new": 1}
    assert "dropped from 1 rows" in caplog.text
    assert data.targets("test").tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [{"text": 5, "labels": ["a", "b"]}],
            {},
            r"train\.jsonl, row 1, column 'text': expected a text, got 5",
        ),
        (
            [{"text": "x", "labels": ["a"]}, {"text": None, "labels": ["b"]}],
            {},
            "row 2, column 'text': expected a text, got None",
        ),
        (
            [{"body": "x", "labels": ["a"]}],
            {},
            "no column 'text' for the text.* body, labels",
        ),
        ([{"text": "x", "labels": ["a"]}] * 9, {}, r"at least two labels, got 1 \('a'\)"),
        ([{"text": "x", "labels": ["a"]}], {"group_column": "who"}, "no column 'who'"),
        ([{"text": "x", "labels": ["a"]}], {"weight_column": "w"}, "no column 'w' for the weights"),
        *(
            (
                [{"text": "x", "labels": ["a"], "w": 1}, {"text": "y", "labels": ["b"], "w": cell}],
                {"weight_column": "w"},
                "row 2, column 'w': expected a weight of 0 or more, got",
            )
            for cell in (-1, float("nan"), None)
        ),
        (
            [{"text": "x", "labels": ["a"], "w": 0}, {"text": "y", "labels": ["b"], "w": 0}],
            {"weight_column": "w"},
            "column 'w': all weights are 0",
        ),
    ],
)
def test_wrong_rows_are_named(
    rows: list[dict[str, object]], options: dict[str, str], message: str
) -> None:
    splits = source(train=rows, validation=rows, test=rows)
    with pytest.raises(InputError, match=message):
        build_labelled_data(splits, LabelColumns(), **options)


def test_weights_follow_their_rows_and_are_read_if_named() -> None:
    rows = [{"text": f"{i}", "labels": ["ab"[i % 2]], "weight": str(i / 4)} for i in range(40)]
    plain = build_labelled_data(source(train=rows), LabelColumns())
    assert "row_weight" not in plain.splits["train"].column_names
    data = build_labelled_data(source(train=rows), LabelColumns(), weight_column="weight")
    train = data.splits["train"]
    assert len(train) < 40
    assert train["row_weight"][:] == [int(text) / 4 for text in train["text"]]
    for split in ("validation", "test"):
        assert "row_weight" not in data.splits[split].column_names
        assert data.splits[split]["text"][:] == plain.splits[split]["text"][:]
    joined = LabelColumns(join_rows=True)
    with pytest.raises(InputError, match="weight_column: cannot be combined with join_rows"):
        build_labelled_data(source(train=rows), joined, weight_column="weight")


def test_profile_counts(tokenizer: object) -> None:
    train = [
        {"text": "red sky", "labels": ["a"]},
        {"text": "red sky", "labels": ["a", "b"]},
        {"text": "the dog runs and the cat sleeps", "labels": []},
    ]
    test = [{"text": "red sky", "labels": ["b"]}, {"text": "", "labels": ["b"]}]
    splits = source(train=train, validation=test, test=test)
    data = build_labelled_data(splits, LabelColumns(join_rows=False))
    encoded = {
        name: encode(rows, tokenizer, max_length=6, description=name)
        for name, rows in data.splits.items()
    }
    assert encoded["train"]["length"][:] == [4, 4, 6]
    assert encoded["train"]["truncated"][:] == [False, False, True]
    profile = compute_profile(data, encoded)
    assert profile.splits["train"].label_counts == {"a": 2, "b": 1}
    assert profile.splits["train"].cardinality == 1
    assert profile.splits["train"].empty_rows == 1
    assert profile.splits["train"].repeated_texts == 1
    assert profile.splits["train"].truncated == pytest.approx(1 / 3)
    assert profile.shared_texts["in test and train"] == 1
    text = profile.render()
    assert "labels without a row in test: 1 (a)" in text
    assert "same text in test and train: 1 rows" in text


def test_text_pairs_and_max_length(tokenizer: object) -> None:
    rows = [{"text": "red sky", "other": "blue sea", "labels": ["a", "b"]}]
    data = build_labelled_data(
        source(train=rows, validation=rows, test=rows), LabelColumns(), text_pair_column="other"
    )
    encoded = encode(data.splits["train"], tokenizer, max_length=20, description="train")
    assert encoded["length"][:] == [7]
    assert encoded["token_type_ids"][0][-3:] == [1, 1, 1]
    with pytest.raises(InputError, match="max_length: expected 3 to 64 for this model, got 100"):
        encode(data.splits["train"], tokenizer, max_length=100, description="train")


def test_own_splits_never_leave_a_label_untrained() -> None:
    """Labels of only one group, or of one or two rows, stay in training with any seed."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        matrix = np.eye(60, dtype=bool)[rng.integers(0, 60, 300)]
        groups = (np.arange(300) // 2).tolist()
        first, second = split_rows(sets_of(matrix), size=0.1, seed=seed, groups=groups)
        assert len(second)
        assert not (matrix[second].any(0) & ~matrix[first].any(0)).any()


def test_frequent_labels_keep_their_share_among_very_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splits, "MAX_STRATIFIED_LABELS", 2)
    rng = np.random.default_rng(0)
    frequent = rng.integers(0, 2, 400)
    sets = [[f"f{f}", f"rare{r}"] for f, r in zip(frequent, rng.integers(0, 90, 400), strict=True)]
    first, second = split_rows(sets, size=0.1, seed=0)
    assert abs(frequent[second].mean() - frequent.mean()) < 0.02
    labels = [{label for index in side for label in sets[index]} for side in (first, second)]
    assert len(second) > 20
    assert labels[1] <= labels[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"text": f"x{i}", "labels": [f"l{i}"]} for i in range(20)],
            "so that each label stays in training",
        ),
        ([{"text": t, "labels": ["a", "b"]} for t in "xy"], "off 2 rows; one side is empty"),
        ([{"text": "x", "labels": "[]"}, {"text": "y", "labels": "[]"}], "no row has a label"),
        ([{"text": " ", "labels": ["a", "b"]}] * 9, "9 rows without a text .*text_column"),
    ],
)
def test_rows_that_cannot_be_split(rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_labelled_data(
            source(train=rows), LabelColumns(delimiter=";") if message[0] == "n" else LabelColumns()
        )


@pytest.mark.parametrize("missing", [None, float("nan"), "", " "])
def test_rows_without_a_group_are_groups_of_their_own(missing: object) -> None:
    """As if each of them had a group that no other row has."""
    rng = np.random.default_rng(0)
    sets = [[name for name in "abc" if rng.random() < 0.4] for _ in range(500)]
    kind = float if isinstance(missing, float) else str  # a column holds one type
    groups: list[Any] = [kind(i % 50 + 1) if rng.random() < 0.6 else None for i in range(500)]
    named = [str(group or f"row {index}") for index, group in enumerate(groups)]
    found = []
    for column in ([group or missing for group in groups], named):
        rows = [
            {"text": f"text {index}", "labels": labels, "author": group}
            for index, (labels, group) in enumerate(zip(sets, column, strict=True))
        ]
        data = build_labelled_data(
            source(train=rows), LabelColumns(), group_column="author", validation_size=0.2
        )
        found.append({name: each["text"] for name, each in data.splits.items()})
    assert found[0] == found[1]
    alone = {f"text {index}" for index, group in enumerate(groups) if group is None}
    assert 0.1 < len(alone.intersection(found[0]["validation"])) / len(alone) < 0.3


def test_given_splits_may_share_missing_groups() -> None:
    row = {"text": "x", "labels": ["a", "b"], "author": None}
    other = row | {"author": "Ann"}
    build_labelled_data(
        source(train=[row, other], validation=[row], test=[row]),
        LabelColumns(),
        group_column="author",
    )


def test_profile_leaves_out_unjudged_labels(tokenizer: object) -> None:
    names = ("a", "b", "c")
    targets = [[1, 0, None], [1, 1, None], [None, 0, None], [0, 0, None], [None, None, None]]
    cells = [
        {"text": f"red {i}"}
        | {n: -100 if value is None else value for n, value in zip(names, row, strict=True)}
        for i, row in enumerate(targets)
    ]
    data = build_labelled_data(
        source(train=cells, validation=cells, test=cells), LabelColumns(columns=names)
    )
    encoded = {
        name: encode(rows, tokenizer, max_length=6, description=name)
        for name, rows in data.splits.items()
    }
    split = compute_profile(data, encoded).splits["train"]
    assert (split.unjudged_rows, list(split.unjudged_labels)) == (1, ["c"])
    assert split.unknown_cells == 8
    assert split.cardinality == 3 / 4
    assert split.density == 3 / 7
    assert split.empty_rows == 0, "no row is known to have none of the three labels"
    assert split.judged_counts == {"a": 2, "b": 1}
