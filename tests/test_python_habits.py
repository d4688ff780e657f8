"""Forty calls that people type from habit: each runs, or ends in one line with the right call."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments, pipeline

from tests.builders import make_tokenizer
from tests.training.builders import arguments, model
from zlpr_hf import (
    Classifier,
    FocalLoss,
    InputError,
    ZLPRClassifier,
    ZLPRLoss,
    ZLPRTrainer,
    finetune,
    load_model,
    load_pipeline,
    push_folder,
)

TEXTS = ["red dog", "the sea", "big fish runs", "a cat"] * 8
NAMES = ["blue", "green", "red"]
LABELS = [["red"], [], ["blue", "green"], ["green"]] * 8
MULTI_HOT = [[int(name in row) for name in NAMES] for row in LABELS]
FRAME = pd.DataFrame({"text": [f"{text} {i}" for i, text in enumerate(TEXTS)], "labels": LABELS})
LOGITS = torch.zeros(8, 3)


@dataclass(frozen=True)
class Place:
    """Where a call runs: an empty folder, the folder of an encoder, and that of a trained model."""

    folder: Path
    encoder: str
    trained: str

    def trainer(self, rows: Any, **given: Any) -> ZLPRTrainer:
        more = {"model": load_model(self.encoder, NAMES), "processing_class": make_tokenizer()}
        more |= {"args": arguments(self.folder / "run", max_steps=1)}
        return ZLPRTrainer(train_dataset=rows, **(more | given))

    def train(self, rows: Any, **given: Any) -> float:
        return self.trainer(rows, **given).train().training_loss

    @property
    def quick(self) -> dict[str, Any]:
        return {
            "model": self.encoder, "max_steps": 1, "max_length": 16, "bf16": False,
            "save_strategy": "no",
        }  # fmt: skip

    def classifier(self) -> ZLPRClassifier:
        return ZLPRClassifier(**self.quick).fit(FRAME["text"], FRAME["labels"])


def rows(labels: Any, column: str = "labels") -> Dataset:
    return Dataset.from_dict({"text": TEXTS, column: labels})


def tokenised(labels: Any) -> Dataset:
    tokens = make_tokenizer()(TEXTS)
    return Dataset.from_dict({**tokens, "labels": labels})


def own_metrics(prediction: Any) -> dict[str, float]:
    return {"right": float(((prediction.predictions > 0) == prediction.label_ids).mean())}


def stop_early(place: Place) -> Any:
    args = arguments(
        place.folder, max_steps=3, eval_strategy="steps", eval_steps=1, save_strategy="steps",
        save_steps=1, load_best_model_at_end=True, metric_for_best_model="f1_macro",
    )  # fmt: skip
    callback = EarlyStoppingCallback(early_stopping_patience=1)
    return place.train(rows(LABELS), eval_dataset=rows(LABELS), args=args, callbacks=[callback])


def stock_loss(place: Place) -> float:
    args = TrainingArguments(
        output_dir=str(place.folder), max_steps=2, gradient_accumulation_steps=2, use_cpu=True,
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    stock = Trainer(
        model(), args, train_dataset=tokenised(MULTI_HOT), processing_class=make_tokenizer(),
        compute_loss_func=ZLPRLoss(),
    )  # fmt: skip
    return stock.train().training_loss


def stock_answers(place: Place) -> bool:
    stock = pipeline("text-classification", place.trained, top_k=None, truncation=True)
    found = [{each["label"] for each in row if each["score"] > 0.5} for row in stock(TEXTS[:4])]
    return found == [{*row} for row in Classifier(place.trained).predict(TEXTS[:4])]


def own_loss_of_a_saved_model(place: Place) -> bool:
    """It is binary cross-entropy, as the reference says."""
    loaded = Classifier(place.trained)
    batch = loaded.tokenizer(["red dog"], return_tensors="pt")
    targets = torch.tensor([[0.0, 0.0, 1.0]])
    outputs = loaded.model(**batch, labels=targets)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs.logits, targets)
    return bool(torch.isclose(outputs.loss, expected))


def logged_to_tensorboard(place: Place) -> bool:
    args = arguments(place.folder, max_steps=1, report_to="tensorboard")
    if find_spec("tensorboard") is None:
        with pytest.raises(RuntimeError, match="tensorboard"):
            place.trainer(rows(LABELS), args=args)
        return True
    place.train(rows(LABELS), args=args)
    return any(place.folder.rglob("events.out.tfevents.*"))


RUN: dict[int, Callable[[Place], Any]] = {
    1: lambda place: place.train(rows(MULTI_HOT)),
    2: lambda place: place.train(rows(np.array(MULTI_HOT, float).tolist()), eval_dataset=FRAME),
    3: lambda place: place.train(rows(LABELS)),
    4: lambda place: place.train(rows(LABELS, "label")),
    5: lambda place: place.train(
        rows(LABELS),
        args=TrainingArguments(str(place.folder), max_steps=1, use_cpu=True, report_to="none"),
    ),
    7: lambda place: ZLPRTrainer(
        load_model(place.encoder, NAMES), train_dataset=rows(LABELS),
        processing_class=make_tokenizer(),
    ).train_dataset["labels"][:],
    8: lambda place: place.trainer(None, eval_dataset=rows(LABELS)).evaluate()["eval_lrap"],
    9: lambda place: place.trainer(None).predict(rows(LABELS)).predictions.shape == (32, 3),
    10: stop_early,
    11: lambda place: place.trainer(
        None, eval_dataset=rows(LABELS), compute_metrics=own_metrics
    ).evaluate()["eval_right"],
    12: lambda place: place.train(tokenised(MULTI_HOT)),
    13: lambda place: load_model(place.encoder, NAMES).config.label2id["green"] == 1,
    18: lambda place: place.train(FRAME),
    19: lambda place: finetune(FRAME, **place.quick, output_dir=place.folder / "a", log=str).test,
    20: lambda place: finetune(
        train_file=FRAME.to_json(place.folder / "a.jsonl", orient="records", lines=True)
        or place.folder / "a.jsonl",
        **place.quick, output_dir=place.folder / "a", log=str,
    ).test,
    21: lambda place: place.classifier().predict(["a red dog"]),
    22: lambda place: Classifier(place.trained).predict(["a red dog"]),
    23: lambda place: Classifier.from_pretrained(place.trained).predict(["a red dog"]),
    28: logged_to_tensorboard,
    29: stock_answers,
    30: lambda place: len(load_pipeline(place.trained)(FRAME["text"])) == 32
    and load_pipeline(place.trained)("") == [],
    32: lambda place: len(load_pipeline(place.trained)(rows(LABELS)["text"])) == 32,
    35: lambda place: load_model(place.encoder, ["a", "b"]).config.num_labels == 2,
    36: lambda place: load_model(place.encoder, num_labels=3).config.num_labels == 3,
    37: lambda place: len(list(load_pipeline(place.trained)(text for text in TEXTS))) == 32,
    38: stock_loss,
    39: own_loss_of_a_saved_model,
    40: lambda place: FocalLoss(gamma=3)(LOGITS, torch.tensor(MULTI_HOT[:8])).item(),
}  # fmt: skip
REFUSED: dict[int, tuple[Callable[[Place], Any], type[Exception], str]] = {
    6: (
        lambda place: place.train(rows(LABELS), processing_class=None),
        InputError, "processing_class=tokenizer",
    ),
    14: (lambda place: ZLPRLoss()(LOGITS, torch.arange(8) % 3), ValueError, "one_hot"),
    15: (lambda place: ZLPRLoss()(LOGITS, MULTI_HOT[:8]), TypeError, "torch.as_tensor"),
    16: (
        lambda place: ZLPRLoss(pos_weight=torch.ones(3)),
        TypeError, r"BCELoss with positive_weight.*WeightedBCELoss",
    ),
    17: (lambda place: ZLPRLoss()(LOGITS, np.zeros((8, 3))), TypeError, "torch.as_tensor"),
    24: (lambda place: place.trainer(rows(LABELS)).evaluate(), ValueError, "eval_dataset"),
    25: (lambda place: place.classifier().push_to_hub("me/mine"), InputError, "zlpr push"),
    26: (lambda place: push_folder(place.trained, "me/mine"), InputError, "zlpr push"),
    27: (
        lambda place: place.trainer(rows(LABELS), args=arguments(place.folder, report_to="wandb")),
        RuntimeError, "pip install wandb",
    ),
    31: (
        lambda place: load_pipeline(place.trained)("red", return_all_scores=True),
        InputError, "return_all_scores.*threshold",
    ),
    33: (lambda place: place.train(tokenised([[1, 0, 0, 0]] * 32)), InputError, "num_labels=4"),
    34: (lambda place: place.train(rows([0, 1, 2, 1] * 8)), InputError, "class ids"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, encoder_dir: Path, finished: tuple[Path, Any]) -> Place:
    return Place(tmp_path, str(encoder_dir), str(finished[0]))


def test_there_are_forty_calls() -> None:
    assert sorted([*RUN, *REFUSED]) == list(range(1, 41))


@pytest.mark.parametrize("number", RUN)
def test_call_runs(number: int, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    found = RUN[number](place)
    assert found is not False
    assert found is not None
    assert not isinstance(found, float) or math.isfinite(found)


@pytest.mark.parametrize("number", REFUSED)
def test_call_is_refused_in_one_line(number: int, place: Place) -> None:
    if number == 27 and find_spec("wandb"):
        pytest.skip("wandb is installed")
    call, error, right_call = REFUSED[number]
    with pytest.raises(error, match=right_call) as refused:
        call(place)
    assert len(str(refused.value).strip().splitlines()) == 1


def test_splits_are_passed_one_by_one(place: Place) -> None:
    splits = DatasetDict({"train": rows(LABELS), "test": rows(LABELS)})
    assert place.train(splits["train"], eval_dataset=splits["test"]) > 0
    with pytest.raises(InputError, match=r'data\["train"\]'):
        place.train(splits)
