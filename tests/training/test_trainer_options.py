"""ZLPRTrainer with models of several outputs, and with options of transformers' Trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from torch.nn import functional as F

from tests.builders import tiny_config
from tests.families import BART
from tests.training.builders import arguments, model, rows
from zlpr_hf import ZLPRTrainer, compute_multi_label_metrics, zlpr_loss, zlpr_loss_from_indices


def build(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "bart":
        config = transformers.BartConfig(**BART, num_labels=3)
        return transformers.BartForSequenceClassification(config)
    changes: dict[str, Any] = {kind: True, "attn_implementation": "eager"}
    return transformers.BertForSequenceClassification(tiny_config(num_labels=3, **changes))


def uneven_rows() -> Dataset:
    """Rows of several lengths; each ends with the token that BART reads its logits from."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(4, 22, (3 + n % 4,), generator=generator).tolist() for n in range(10)]
    labels = [[float(n % 2), float(n % 3 == 0), 1.0] for n in range(10)]
    return Dataset.from_dict(
        {
            "input_ids": [[*each, 3] for each in ids],
            "attention_mask": [[1] * (len(each) + 1) for each in ids],
            "labels": labels,
        }
    )


@pytest.mark.parametrize("kind", ["bart", "output_hidden_states", "output_attentions"])
def test_metrics_are_those_of_the_logits_of_models_with_more_outputs(
    kind: str, tmp_path: Path
) -> None:
    tested, data = build(kind).eval(), uneven_rows()
    changes = {"per_device_eval_batch_size": 4}

    def pad(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in features)
        return {
            name: torch.tensor(
                [row[name] + [0] * (width - len(row[name])) for row in features]
                if name != "labels"
                else [row[name] for row in features]
            )
            for name in ("input_ids", "attention_mask", "labels")
        }

    trainer = ZLPRTrainer(tested, arguments(tmp_path, **changes), pad, eval_dataset=data)
    with torch.no_grad():
        expected = torch.cat(
            [tested(input_ids=torch.tensor([row["input_ids"]])).logits for row in data]
        ).numpy()
    np.testing.assert_allclose(trainer.predict(data).predictions, expected, atol=1e-5)
    metrics = compute_multi_label_metrics(expected, data["labels"][:])
    assert trainer.evaluate()["eval_lrap"] == pytest.approx(metrics["lrap"])


def test_subclass_keeps_its_answer_on_gradient_accumulation(tmp_path: Path) -> None:
    class Mean(ZLPRTrainer):
        loss_is_scaled_for_ga = False

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            logits = model(inputs["input_ids"]).logits
            return F.binary_cross_entropy_with_logits(logits, inputs["labels"])

    data, found = rows().select(range(8)), []
    for size in (8, 2):
        changes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size}
        trained = model()
        settings = arguments(tmp_path, num_train_epochs=1, learning_rate=1.0, **changes)
        Mean(trained, settings, train_dataset=data).train()
        found.append(trained.classifier.weight.detach())
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_compute_metrics_may_be_given_by_position(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(
        model(), arguments(tmp_path), None, None, rows(), None, None, None, lambda _: {"own": 7.0}
    )
    assert trainer.evaluate()["eval_own"] == 7


@pytest.mark.parametrize(
    "change", [{"eval_do_concat_batches": False}, {"batch_eval_metrics": True}]
)
def test_options_that_split_predictions_are_refused(tmp_path: Path, change: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        ZLPRTrainer(model(), arguments(tmp_path, **change), eval_dataset=rows())


def test_loss_is_transformed_over_targets_alone() -> None:
    logits, targets = torch.randn(3, 5), torch.rand(4, 3, 5)
    found = torch.func.vmap(lambda each: zlpr_loss(logits, each))(targets)
    expected = torch.stack([zlpr_loss(logits, each) for each in targets])
    torch.testing.assert_close(found, expected)


def test_ids_may_have_any_integer_type() -> None:
    logits, ids = torch.randn(3, 5), torch.tensor([[0, 1], [2, -100], [4, 3]])
    expected = zlpr_loss_from_indices(logits, ids)
    for dtype in (torch.int8, torch.int16, torch.int32):
        torch.testing.assert_close(zlpr_loss_from_indices(logits, ids.to(dtype)), expected)
