"""Weights of training rows in the loss: exact, in training only, and for losses of single rows."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.builders import ROWS, arguments, model, rows
from zlpr_hf import BCELoss, SigmoidF1Loss, ZLPRTrainer, zlpr_divergence, zlpr_loss

WEIGHTS = [3.0, 0.0, 1.0, 0.5, 2.0, 1.0, 1.0, 0.25, 4.0, 0.75]


def trained(folder: Path, data: Any, **changes: Any) -> dict[str, torch.Tensor]:
    trainer = ZLPRTrainer(model=model(), args=arguments(folder, **changes), train_dataset=data)
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_step_descends_on_the_weighted_mean(tmp_path: Path) -> None:
    """One step on all rows: the mean of weight times loss over the mean weight."""
    data = rows().add_column("row_weight", WEIGHTS)
    settings = {"per_device_train_batch_size": ROWS, "max_steps": 1}
    found = trained(tmp_path, data, **settings)
    expected = model()
    batch = rows().with_format("torch")[:]
    values = zlpr_loss(expected(batch["input_ids"]).logits, batch["labels"], reduction="none")
    weights = torch.tensor(WEIGHTS)
    ((weights * values).sum() / weights.sum()).backward()
    with torch.no_grad():
        expected.classifier.weight -= 1e-2 * expected.classifier.weight.grad
    torch.testing.assert_close(found["classifier.weight"], expected.classifier.weight.detach())


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_equal_weights_change_nothing(tmp_path: Path, factor: float) -> None:
    plain = trained(tmp_path, rows())
    weighted = trained(tmp_path, rows().add_column("row_weight", [factor] * ROWS))
    for name, value in plain.items():
        torch.testing.assert_close(weighted[name], value)


@pytest.mark.parametrize("batch", [(2, 4), (4, 2)])
def test_accumulation_is_exact(tmp_path: Path, batch: tuple[int, int]) -> None:
    data = rows().add_column("row_weight", WEIGHTS)
    whole = trained(tmp_path, data)
    size, steps = batch
    accumulation = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
    for name, value in trained(tmp_path, data, **accumulation).items():
        torch.testing.assert_close(value, whole[name])


def test_divergences_are_weighted_too(tmp_path: Path) -> None:
    teacher = torch.linspace(-2, 2, 3 * ROWS).reshape(ROWS, 3)
    data = rows().add_column("row_weight", WEIGHTS).add_column("teacher_logits", teacher.tolist())
    trainer = ZLPRTrainer(
        model=model(),
        args=arguments(tmp_path, distillation_alpha=0.25),
        train_dataset=data,
    )
    trainer.args.rdrop_alpha = 1.0  # zero without dropout: both halves are equal
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    value = trainer.compute_loss(trainer.model, batch)
    logits = trainer.model(batch["input_ids"]).logits
    each = 0.75 * zlpr_loss(logits, batch["labels"], reduction="none")
    each = each + 0.25 * zlpr_divergence(logits, batch["teacher_logits"], reduction="none")
    weights = batch["row_weight"] / (sum(WEIGHTS) / ROWS)
    torch.testing.assert_close(value, (weights * each).sum() / len(weights))


def test_evaluation_counts_all_rows_alike(tmp_path: Path) -> None:
    data = rows().add_column("row_weight", WEIGHTS)
    trainer = ZLPRTrainer(model=model(), args=arguments(tmp_path), train_dataset=data)
    assert trainer.evaluate(data)["eval_loss"] == trainer.evaluate(rows())["eval_loss"]


def test_wrong_weights_and_losses_are_refused(tmp_path: Path) -> None:
    for wrong in ([-1.0] * ROWS, [0.0] * ROWS, [float("nan")] * ROWS):
        with pytest.raises(ValueError, match="^row_weight: expected numbers of 0 or more"):
            trained(tmp_path, rows().add_column("row_weight", wrong))
    data = rows().add_column("row_weight", WEIGHTS)
    ids = data.remove_columns("labels").add_column("labels", [[0]] * ROWS)
    with pytest.raises(ValueError, match="^row_weight: not supported with large_label_space"):
        trained(tmp_path, ids, large_label_space=True)
    with pytest.raises(ValueError, match="^row_weight: loss sigmoid_f1 compares"):
        ZLPRTrainer(
            model=model(),
            args=arguments(tmp_path),
            train_dataset=data,
            loss=SigmoidF1Loss(reduction="none"),
        )
    with pytest.raises(ValueError, match="^row_weight: .* one value per example"):
        ZLPRTrainer(
            model=model(), args=arguments(tmp_path), train_dataset=data, loss=BCELoss()
        ).train()
