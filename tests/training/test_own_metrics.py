"""What a compute_metrics of the user gets: logits and targets of all rows, in their order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from tests.builders import make_tokenizer
from tests.training.builders import ROWS, arguments, model, rows
from zlpr_hf import ZLPRTrainer, compute_multi_label_metrics


def test_logits_and_targets_of_all_rows(tmp_path: Path) -> None:
    seen: list[EvalPrediction] = []

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        seen.append(prediction)
        return compute_multi_label_metrics(prediction.predictions, prediction.label_ids)

    labels = torch.tensor(rows()["labels"][:])
    labels[2, 1], labels[5] = torch.nan, -100.0
    data = rows().remove_columns("labels").add_column("labels", labels.tolist())
    args = arguments(tmp_path, per_device_eval_batch_size=4)
    own = ZLPRTrainer(model(), args, eval_dataset=data, compute_metrics=metrics).evaluate()
    (found,) = seen
    assert found.predictions.dtype == found.label_ids.dtype == np.float32
    assert found.predictions.shape == (ROWS, 3)
    np.testing.assert_array_equal(found.label_ids, labels.numpy())
    with torch.no_grad():
        expected = model().eval()(torch.tensor(data["input_ids"][:])).logits
    np.testing.assert_allclose(found.predictions, expected, atol=1e-6)
    stock = ZLPRTrainer(model(), args, eval_dataset=data).evaluate()
    assert own["eval_f1_micro"] == pytest.approx(stock["eval_f1_micro"])


def test_unknown_labels_of_texts_are_nan(tmp_path: Path) -> None:
    seen: list[Any] = []

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        seen.append(prediction.label_ids)
        return {"rows": float(len(prediction.label_ids))}

    data = [{"text": "red dog", "labels": [1, 0, -100]}, {"text": "the sea", "labels": None}]
    made = ZLPRTrainer(
        model(), arguments(tmp_path), eval_dataset=data, processing_class=make_tokenizer(),
        compute_metrics=metrics,
    )  # fmt: skip
    assert made.evaluate()["eval_rows"] == 2
    np.testing.assert_array_equal(seen[0], [[1, 0, np.nan], [np.nan] * 3])


def test_best_labels_of_a_large_label_space(tmp_path: Path) -> None:
    seen: list[Any] = []

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        seen.append(prediction)
        return {}

    args = arguments(tmp_path, large_label_space=True, evaluated_labels=2)
    data = [{**make_tokenizer()("red dog"), "labels": [2]}] * 3
    made = ZLPRTrainer(
        model(), args, eval_dataset=data, processing_class=make_tokenizer(), compute_metrics=metrics
    )
    made.evaluate()
    logits, ids = seen[0].predictions
    assert logits.shape == ids.shape == (3, 2)
    assert seen[0].label_ids.tolist() == [[2]] * 3


def test_tensorboard_gets_loss_and_metrics(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    args = arguments(
        tmp_path, report_to="tensorboard", logging_strategy="epoch", eval_strategy="epoch"
    )
    ZLPRTrainer(model(), args, train_dataset=rows(), eval_dataset=rows()).train()
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    events = reader.EventAccumulator(str(file)).Reload()
    assert {"train/loss", "eval/loss", "eval/f1_micro"} <= {*events.Tags()["scalars"]}
    assert [event.step for event in events.Scalars("eval/f1_micro")] == [2, 4]
