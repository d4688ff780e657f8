"""Rows for ZLPRTrainer: labels that are no multi-hot vectors are named in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value

from tests.builders import make_tokenizer
from tests.training.builders import arguments, model
from zlpr_hf import InputError, LabelSets, LabelSpace, PowersetLoss, ZLPRTrainer

TEXTS = ["red dog", "the sea", "big fish"]
NAMES = ["a", "b", "c"]


def trainer(folder: Path, labels: Any, **changes: Any) -> ZLPRTrainer:
    rows = [
        {**make_tokenizer()(text), "labels": each} for text, each in zip(TEXTS, labels, strict=True)
    ]
    return ZLPRTrainer(
        model(),
        arguments(folder, **changes),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=make_tokenizer(),
    )


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 1], [2], []],
        [[0, 1], [2, 0], [1, 2]],
        [["a"], ["b", "c"], []],
        [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]],
        ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"],
        [0, 2, 1],
        [None, [1, 0, 0], [0, 1, 0]],
        [{"a": 1}, {"b": 1}, {"c": 1}],
        [torch.tensor(1), torch.tensor(0), torch.tensor(2)],
        [[[1, 0, 0]], [[1, 0, 0]], [[1, 0, 0]]],
    ],
    ids=["ids", "as many ids", "names", "as many names", "text", "number", "null", "mapping",
         "tensor", "nested"],
)  # fmt: skip
def test_other_labels_are_refused(tmp_path: Path, labels: Any) -> None:
    for use in (ZLPRTrainer.train, ZLPRTrainer.evaluate):
        with pytest.raises(InputError, match="labels: expected a list of 3 numbers"):
            use(trainer(tmp_path, labels))


def test_ids_of_a_class_label_column_are_refused(tmp_path: Path) -> None:
    """As a data set of the Hub holds them."""
    content = {**make_tokenizer()(TEXTS), "labels": [[0, 1], [2], []]}
    features = Features(
        {name: List(Value("int64")) for name in content} | {"labels": List(ClassLabel(names=NAMES))}
    )
    rows = Dataset.from_dict(content, features=features)
    with pytest.raises(InputError, match=r"got \[0, 1\].*LabelSpace.encode"):
        ZLPRTrainer(
            model(), arguments(tmp_path), train_dataset=rows, processing_class=make_tokenizer()
        )
    space = LabelSpace(tuple(NAMES))
    rows = rows.map(
        lambda row: {"targets": space.encode(space.names[index] for index in row["labels"])},
        remove_columns="labels",
    ).rename_column("targets", "labels")
    made = ZLPRTrainer(
        model(), arguments(tmp_path), train_dataset=rows, processing_class=make_tokenizer()
    )
    assert made.train().training_loss > 0


@pytest.mark.parametrize(
    "change",
    [
        list,
        tuple,
        np.array,
        lambda row: np.array(row, np.float32),
        torch.tensor,
        lambda row: torch.tensor(row).bool(),
        lambda row: [float("nan") if value else 0.0 for value in row],
        lambda row: [-100 if value else 0 for value in row],
    ],
)
def test_vectors_of_any_type_are_trained(tmp_path: Path, change: Any) -> None:
    labels = [change(row) for row in ([1, 0, 0], [0, 1, 1], [0, 0, 0])]
    assert np.isfinite(trainer(tmp_path, labels).train().training_loss)


def test_powerset_takes_one_number_per_label(tmp_path: Path) -> None:
    sets = LabelSets(((0,), (1,), (0, 1)), 2)
    rows = [{"input_ids": [5, 6], "labels": [1.0, 0.0]}, {"input_ids": [7, 8], "labels": [1, 1]}]
    made = ZLPRTrainer(model(), arguments(tmp_path), train_dataset=rows, loss=PowersetLoss(sets))
    assert made.train().training_loss > 0


def test_ids_of_a_large_label_space_are_filled_up(tmp_path: Path) -> None:
    found = trainer(tmp_path, [[0, 1], [2], []], large_label_space=True)
    padded = trainer(tmp_path, [[0, 1], [2, -100], [-100, -100]], large_label_space=True)
    for made in (found, padded):
        made.train()
    for name, value in padded.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value)


@pytest.mark.parametrize(
    "labels",
    [
        [[1, 0, 0], [0, 1, 1], [0, 0, 1]],
        [[1.0, 0.0, 0.0]] * 3,
        [[True, False, False]] * 3,
        [["a"], ["b"], []],
    ],
    ids=["vectors", "floats", "flags", "names"],
)
def test_vectors_in_a_large_label_space_are_refused(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(InputError, match="expected a list of different ids"):
        trainer(tmp_path, labels, large_label_space=True).train()
