"""Rows of texts and label names for ZLPRTrainer: encoded as by hand, or refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import DataCollatorWithPadding

from tests.builders import make_tokenizer
from tests.training.builders import arguments, model
from zlpr_hf import InputError, LabelSets, LabelSpace, PowersetLoss, ZLPRTrainer, load_model

TEXTS = ["red dog", "the sea", "big fish runs"]
NAMES = ["a", "b", "c"]
LABELS = [["a", "c"], [], ["b"]]
VECTORS = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def named_model() -> Any:
    made = model()
    made.config.id2label = dict(enumerate(NAMES))
    return made


def trainer(folder: Path, rows: Any, **changes: Any) -> ZLPRTrainer:
    given = {"train_dataset": rows, "processing_class": make_tokenizer()} | changes
    return ZLPRTrainer(given.pop("model", named_model()), arguments(folder), **given)


def weights(made: ZLPRTrainer) -> torch.Tensor:
    made.train()
    return torch.cat([each.detach().flatten() for each in made.model.parameters()])


def by_hand(labels: Any = VECTORS) -> list[dict[str, Any]]:
    return [
        {**make_tokenizer()(text), "labels": each} for text, each in zip(TEXTS, labels, strict=True)
    ]


def dataset(labels: Any, feature: Any, column: str = "labels") -> Dataset:
    features = Features({"text": Value("string"), column: feature})
    return Dataset.from_dict({"text": TEXTS, column: labels}, features=features)


ROWS = {
    "list": [{"text": text, "labels": row} for text, row in zip(TEXTS, LABELS, strict=True)],
    "columns": {"text": TEXTS, "labels": LABELS},
    "frame": pd.DataFrame({"text": TEXTS, "labels": LABELS}, index=[7, 3, 5]),
    "frame of sets": pd.DataFrame({"text": TEXTS, "labels": [set(row) for row in LABELS]}),
    "frame of arrays": pd.DataFrame({"text": TEXTS, "labels": [np.array(row) for row in VECTORS]}),
    "data set": Dataset.from_dict({"text": TEXTS, "labels": LABELS, "id": [1, 2, 3]}),
    "split": DatasetDict({"train": Dataset.from_dict({"text": TEXTS, "labels": LABELS})})["train"],
    "label": Dataset.from_dict({"text": TEXTS, "label": LABELS}),
    "vectors": Dataset.from_dict({"text": TEXTS, "labels": VECTORS}),
    "whole numbers": Dataset.from_dict({"text": TEXTS, "labels": np.int64(VECTORS).tolist()}),
    "ids": Dataset.from_dict({"text": TEXTS, "labels": [[0, 2], [], [1]]}),
    "declared ids": dataset([[1, 0], [], [2]], List(ClassLabel(names=["c", "a", "b"]))),
    "tensors": Dataset.from_dict({"text": TEXTS, "labels": VECTORS}).with_format("torch"),
}


@pytest.mark.parametrize("form", ROWS)
def test_rows_train_as_if_encoded_by_hand(form: str, tmp_path: Path) -> None:
    expected = weights(trainer(tmp_path, by_hand()))
    torch.testing.assert_close(weights(trainer(tmp_path, ROWS[form])), expected)


def test_one_name_per_row(tmp_path: Path) -> None:
    vectors = np.eye(3).tolist()
    expected = weights(trainer(tmp_path, by_hand(vectors)))
    for labels in (dataset(NAMES, Value("string")), dataset([0, 1, 2], ClassLabel(names=NAMES))):
        torch.testing.assert_close(weights(trainer(tmp_path, labels)), expected)


def test_pairs_soft_and_unknown_labels(tmp_path: Path) -> None:
    soft = [[0.5, 0.0, float("nan")], [0.0, 1.0, 0.0], [float("nan")] * 3]
    tokens = make_tokenizer()(TEXTS, TEXTS[::-1])
    columns = {name: list(values) for name, values in tokens.items()}
    expected = weights(trainer(tmp_path, Dataset.from_dict(columns | {"labels": soft})))
    rows = {"text": TEXTS, "text_pair": TEXTS[::-1], "labels": [*soft[:2], None]}
    torch.testing.assert_close(weights(trainer(tmp_path, pd.DataFrame(rows))), expected)


def test_evaluation_and_prediction_take_texts(tmp_path: Path) -> None:
    rows = ROWS["frame"]
    made = trainer(tmp_path, None, eval_dataset=rows)
    expected = trainer(tmp_path, None, eval_dataset=by_hand()).evaluate()
    for found in (made.evaluate(), made.evaluate(rows), made.evaluate(ROWS["data set"])):
        assert found["eval_loss"] == pytest.approx(expected["eval_loss"])
        assert found["eval_f1_micro"] == expected["eval_f1_micro"]
    several = made.evaluate({"one": rows, "other": by_hand()})
    assert several["eval_one_loss"] == pytest.approx(several["eval_other_loss"])
    logits = made.predict(rows).predictions
    np.testing.assert_allclose(made.predict(by_hand()).predictions, logits, atol=1e-6)
    unlabelled = made.predict(Dataset.from_dict({"text": TEXTS}))
    np.testing.assert_allclose(unlabelled.predictions, logits, atol=1e-6)
    assert unlabelled.label_ids is None


def test_texts_are_cut_at_the_limit_of_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 4
    made = trainer(tmp_path, ROWS["frame"], processing_class=tokenizer)
    assert max(map(len, made.train_dataset["input_ids"])) == 4
    free = make_tokenizer()
    free.model_max_length = int(1e30)  # as transformers writes it for "no limit"
    long = [{"text": "red " * 100, "labels": ["a"]}]
    made = trainer(tmp_path, long, processing_class=free)
    assert len(made.train_dataset[0]["input_ids"]) == 64  # positions of the model
    assert free.model_max_length == int(1e30)


def test_collators_of_the_user(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    stock = trainer(tmp_path, ROWS["data set"], data_collator=DataCollatorWithPadding(tokenizer))
    torch.testing.assert_close(weights(stock), weights(trainer(tmp_path, by_hand())))

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        tokens = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        space = LabelSpace(tuple(NAMES))
        return {**tokens, "labels": torch.tensor([space.encode(row["labels"]) for row in rows])}

    args = arguments(tmp_path, remove_unused_columns=False)
    own = ZLPRTrainer(named_model(), args, train_dataset=ROWS["list"], data_collator=collate)
    assert own.train_dataset is ROWS["list"]
    torch.testing.assert_close(weights(own), weights(trainer(tmp_path, by_hand())))


def test_columns_that_no_model_reads_go(tmp_path: Path) -> None:
    args = arguments(tmp_path, remove_unused_columns=False, train_sampling_strategy="random")
    made = ZLPRTrainer(
        named_model(), args, train_dataset=ROWS["data set"], processing_class=make_tokenizer()
    )
    assert np.isfinite(made.train().training_loss)


def test_losses_that_read_the_training_targets(encoder_dir: Path, tmp_path: Path) -> None:
    args = arguments(tmp_path, loss="weighted_bce")
    made = ZLPRTrainer(
        named_model(), args, train_dataset=ROWS["frame"], processing_class=make_tokenizer()
    )
    assert made.loss.positive_weight.tolist() == [2.0, 2.0, 2.0]
    sets = LabelSets(((), (0, 2), (1,)), 3)
    space = LabelSpace(tuple(NAMES))
    powerset = load_model(str(encoder_dir), space, loss="powerset", label_sets=sets)
    made = trainer(tmp_path, ROWS["frame"], model=powerset, loss=PowersetLoss(sets))
    assert np.asarray(made.train_dataset["labels"]).tolist() == VECTORS


def test_large_label_space_takes_names(tmp_path: Path) -> None:
    args = arguments(tmp_path, large_label_space=True)
    made = ZLPRTrainer(
        named_model(), args, train_dataset=ROWS["frame"], processing_class=make_tokenizer()
    )
    assert list(made.train_dataset["labels"]) == [[0, 2], [], [1]]
    assert np.isfinite(made.train().training_loss)
    with pytest.raises(InputError, match="row 1: soft"):
        ZLPRTrainer(
            named_model(), args, processing_class=make_tokenizer(),
            train_dataset=dataset([[0.5, 0.0, 0.0]] * 3, List(Value("float32"))),
        )  # fmt: skip


def frame(labels: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS, "labels": labels})


@pytest.mark.parametrize(
    ("rows", "changes", "parts"),
    [
        (frame([["a"], ["bb"], []]), {}, ["row 2", "'bb'"]),
        (frame([["a"], ["B"], []]), {}, ["row 2", "'B'"]),
        (frame(["a", "b;c", "a;b"]), {}, ["row 2", "'b;c'"]),
        (frame([0, 2, 1]), {}, ["class ids"]),
        (frame([[0, 1], [1, 1], [1, 0]]), {}, ["row 2", "flags"]),
        (frame([[0, 7], [1], [2]]), {}, ["row 1", "7", "a, b, c"]),
        (frame([[0.0, 1.0]] * 3), {}, ["row 1", "3 numbers", "got 2"]),
        (frame([["a"], "b", 3]), {}, ["column 'labels'"]),
        (frame(LABELS).rename(columns={"text": "body"}), {}, ["'text'", "body, labels"]),
        (frame(LABELS), {"processing_class": None}, ["processing_class=tokenizer"]),
        (by_hand(), {"processing_class": None}, ["processing_class=tokenizer", "4 and 5"]),
        (by_hand([[1, 0], [0, 1], [1, 1]]), {}, ["row 1", "3 numbers"]),
        (by_hand([[1, 0, 0, 0]] * 3), {}, ["row 1", "num_labels=4"]),
        (by_hand([1, 2, 0]), {}, ["row 1", "class ids"]),
        (by_hand(LABELS), {}, ["row 1", "columns text and labels"]),
        (DatasetDict({"train": ROWS["label"]}), {}, ['data["train"]']),
        ([{"text": "a", "labels": ["a"]}, {"text": None, "labels": []}], {}, ["row 2", "a text"]),
        (frame(LABELS), {"model": model()}, ["'a'", "LABEL_0", "load_model"]),
    ],
)  # fmt: skip
def test_wrong_rows_are_found_when_the_trainer_is_made(
    rows: Any, changes: dict[str, Any], parts: list[str], tmp_path: Path
) -> None:
    for name in ("train_dataset", "eval_dataset"):
        if isinstance(rows, DatasetDict) and name == "eval_dataset":
            continue
        with pytest.raises(InputError) as refused:
            trainer(tmp_path, None, **{name: rows}, **changes)
        message = str(refused.value)
        assert message.startswith(name)
        assert [part for part in parts if part not in message] == []
