"""The trainer: exact accumulation, any target type, a rate for the head, float32 evaluation."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tests.builders import tiny_config
from tests.training.builders import (
    ROWS,
    arguments,
    collate_shifted,
    model,
    noisy_batch,
    rows,
    shifted_model,
)
from zlpr_hf import (
    BCELoss,
    ZLPRLoss,
    ZLPRTrainer,
    build_compute_loss_func,
    smooth_targets,
    zlpr_divergence,
    zlpr_loss,
)
from zlpr_hf.losses.contrastive import contrastive_loss
from zlpr_hf.training.dataloaders import EpochLengthGroupedSampler


def trained(trainer: Trainer) -> dict[str, torch.Tensor]:
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("kind", ["float", "int", "bool"])
@pytest.mark.parametrize("loss", ["zlpr", "bce"])
def test_accumulation_is_exact(tmp_path: Path, kind: str, loss: str) -> None:
    results = []
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        args = arguments(
            tmp_path,
            loss=loss,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        results.append(trained(ZLPRTrainer(model=model(), args=args, train_dataset=rows(kind))))
    for other in results[1:]:
        for name, value in results[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-6, rtol=1e-5)
    start = model().state_dict()
    assert any((start[name] - value).abs().max() > 1e-4 for name, value in results[0].items())


def test_one_step_is_plain_gradient_descent(tmp_path: Path) -> None:
    """Against the same step written out by hand, without any Trainer."""
    args = arguments(
        tmp_path, num_train_epochs=1, per_device_train_batch_size=ROWS, head_learning_rate=1e-2
    )
    found = trained(ZLPRTrainer(model=model(), args=args, train_dataset=rows()))
    expected, data = model(), rows().with_format("torch")[:]
    ZLPRLoss()(expected(data["input_ids"]).logits, data["labels"]).backward()
    for name, parameter in expected.named_parameters():
        rate = 1e-2 if name.startswith("classifier") else 1e-3
        torch.testing.assert_close(found[name], (parameter - rate * parameter.grad).detach())


def test_a_mean_from_the_users_module_is_exact_too(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return ZLPRLoss()(logits, targets)

    args = arguments(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    own = trained(ZLPRTrainer(model=model(), args=args, train_dataset=rows(), loss=Mean()))
    named = trained(ZLPRTrainer(model=model(), args=args, train_dataset=rows()))
    for name, value in named.items():
        torch.testing.assert_close(own[name], value)


def test_compute_loss_func_for_the_stock_trainer(tmp_path: Path) -> None:
    settings = arguments(tmp_path, head_learning_rate=1e-3)
    ours = trained(ZLPRTrainer(model=model(), args=settings, train_dataset=rows()))
    stock = TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=2,
        gradient_accumulation_steps=4, learning_rate=1e-3, optim="sgd", max_grad_norm=0.0,
        lr_scheduler_type="constant", train_sampling_strategy="sequential", use_cpu=True,
        disable_tqdm=True, save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    theirs = trained(
        Trainer(
            model=model(),
            args=stock,
            train_dataset=rows(),
            compute_loss_func=build_compute_loss_func(),
        )
    )
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-6, rtol=1e-5)


def test_evaluation_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    results = []
    for batch in (1, 3, 10):
        args = arguments(tmp_path, per_device_eval_batch_size=batch)
        trainer = ZLPRTrainer(model=model(), args=args, eval_dataset=rows())
        results.append(trainer.evaluate())
    data = rows().with_format("torch")[:]
    expected = ZLPRLoss()(model().eval()(data["input_ids"]).logits, data["labels"]).item()
    for result in results:
        assert result["eval_loss"] == pytest.approx(expected, rel=1e-5)
        assert result["eval_f1_micro"] == results[0]["eval_f1_micro"]


def test_bf16_trains_in_autocast_and_evaluates_in_float32(tmp_path: Path) -> None:
    args = arguments(tmp_path, bf16=True, use_cpu=True, num_train_epochs=1)
    trainer = ZLPRTrainer(model=model(), args=args, train_dataset=rows(), eval_dataset=rows())
    seen: set[torch.dtype] = set()
    trainer.model.classifier.register_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype)
    )
    trainer.train()
    assert seen == {torch.bfloat16}
    seen.clear()
    logits = torch.from_numpy(trainer.predict(rows()).predictions)
    assert seen == {torch.float32}
    with torch.no_grad():
        plain = model()
        plain.load_state_dict(trainer.model.state_dict())
        expected = plain.eval()(rows().with_format("torch")[:]["input_ids"]).logits
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)


def test_head_rate_default_and_groups(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(
        model=model(), args=arguments(tmp_path, optim="adamw_torch"), train_dataset=rows()
    )
    groups = trainer.create_optimizer().param_groups
    head = {id(p) for p in trainer.model.classifier.parameters()}
    for group in groups:
        expected = 1e-2 if {id(p) for p in group["params"]} & head else 1e-3
        assert group["lr"] == pytest.approx(expected)
    count = sum(len(group["params"]) for group in groups)
    assert count == len(list(trainer.model.parameters()))


def test_predictions_keep_the_order_of_the_rows(tmp_path: Path) -> None:
    data = rows().add_column("length", list(range(ROWS)))
    args = arguments(
        tmp_path, train_sampling_strategy="group_by_length", per_device_eval_batch_size=2
    )
    result = ZLPRTrainer(model=model(), args=args).predict(data)
    assert result.label_ids.tolist() == data["labels"][:]


def test_length_grouped_order_depends_on_seed_and_epoch_alone() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        sampler = EpochLengthGroupedSampler(4, lengths=[i % 17 for i in range(400)], seed=seed)
        sampler.set_epoch(epoch)
        torch.manual_seed(torch.seed())
        return list(sampler)

    assert order(1) == order(1)
    assert order(1) != order(0)
    assert order(1) != order(1, seed=5)
    assert sorted(order(2)) == list(range(400))


def test_configuration_and_wrong_use(tmp_path: Path) -> None:
    trainer = ZLPRTrainer(model=model(), args=arguments(tmp_path, loss="bce"), train_dataset=rows())
    trainer.train()
    assert trainer.model.config.problem_type == "multi_label_classification"
    assert trainer.model.config.zlpr == {"loss": "bce"}
    with pytest.raises(ValueError, match="no 'labels', only input_ids"):
        trainer.compute_loss(trainer.model, {"input_ids": torch.ones(1, 2)})
    with pytest.raises(ValueError, match="loss must be one of .*zlpr, got 'zplr'"):
        arguments(tmp_path, loss="zplr")


def test_a_users_loss_returns_values_per_example_or_their_mean(tmp_path: Path) -> None:
    class PerCell(nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return logits - targets

    trainer = ZLPRTrainer(
        model=model(), args=arguments(tmp_path), train_dataset=rows(), loss=PerCell()
    )
    with pytest.raises(
        ValueError, match=r"one value per example \(8,\) or their mean, got the shape \(8, 3\)"
    ):
        trainer.train()
    with pytest.raises(ValueError, match="give loss=MODULE"):
        ZLPRTrainer(model=model(), args=arguments(tmp_path), compute_loss_func=print)


def with_labels(labels: torch.Tensor) -> Dataset:
    return rows().remove_columns("labels").add_column("labels", labels.tolist())


@pytest.mark.parametrize("mode", ["uniform", "mass_preserving", "positives"])
def test_label_smoothing_is_training_on_smoothed_targets_only(tmp_path: Path, mode: str) -> None:
    options = {"label_smoothing_factor": 0.3, "label_smoothing_mode": mode}
    args = arguments(tmp_path, **options)
    smoothing = ZLPRTrainer(model=model(), args=args, train_dataset=rows(), eval_dataset=rows())
    assert smoothing.args.label_smoothing_factor == 0.3
    by_hand = with_labels(smooth_targets(torch.tensor(rows()["labels"][:]), 0.3, mode=mode))
    plain = ZLPRTrainer(model=model(), args=arguments(tmp_path), train_dataset=by_hand)
    before = smoothing.evaluate()["eval_loss"]
    assert before == pytest.approx(plain.evaluate(rows())["eval_loss"])
    expected = trained(plain)
    for name, value in trained(smoothing).items():
        torch.testing.assert_close(value, expected[name])


def test_rdrop_is_one_forward_with_the_divergence_of_both_halves(tmp_path: Path) -> None:
    trainer, noisy, batch = noisy_batch(tmp_path, rdrop_alpha=2.0)
    torch.manual_seed(1)
    value, outputs = trainer.compute_loss(noisy, batch, return_outputs=True)
    one, other = outputs.logits.split(ROWS)
    assert not torch.equal(one, other)
    losses = [zlpr_loss(half, batch["labels"]) for half in (one, other)]
    both = zlpr_divergence(one, other) + zlpr_divergence(other, one)
    torch.testing.assert_close(value, sum(losses) / 2 + 2.0 * both / 2)
    noisy.eval()
    calm, outputs = trainer.compute_loss(noisy, batch, return_outputs=True)
    assert len(outputs.logits) == ROWS
    torch.testing.assert_close(calm, zlpr_loss(outputs.logits, batch["labels"]))


def test_rdrop_does_not_double_inputs_that_are_not_per_row(tmp_path: Path) -> None:
    """The batch has three rows, as many as the offsets have labels."""
    trainer = ZLPRTrainer(
        model=shifted_model(), args=arguments(tmp_path, rdrop_alpha=1.0), train_dataset=rows()
    )
    batch = collate_shifted(list(rows().select(range(3))))
    trainer.model.train()
    torch.manual_seed(1)
    value, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    torch.manual_seed(1)
    expected = trainer.model(batch["input_ids"].repeat(2, 1), batch["offsets"]).logits
    torch.testing.assert_close(outputs.logits, expected)
    assert torch.isfinite(value)


def test_rdrop_without_dropout_warns_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="this model has none"):
        trainer = ZLPRTrainer(
            model=model(), args=arguments(tmp_path, rdrop_alpha=1.0), train_dataset=rows()
        )
    expected = trained(ZLPRTrainer(model=model(), args=arguments(tmp_path), train_dataset=rows()))
    for name, value in trained(trainer).items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rdrop", [0.0, 0.5])
def test_contrastive_loss_is_of_two_dropouts_of_the_first_pass(
    rdrop: float, tmp_path: Path
) -> None:
    trainer, noisy, batch = noisy_batch(
        tmp_path,
        contrastive_alpha=2.0,
        contrastive_temperature=0.2,
        label_smoothing_factor=0.1,
        rdrop_alpha=rdrop,
    )
    torch.manual_seed(1)
    value, outputs = trainer.compute_loss(noisy, batch, return_outputs=True)
    kept: list[torch.Tensor] = []
    noisy.classifier.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    torch.manual_seed(1)
    passes = 2 if rdrop else 1
    logits = noisy(batch["input_ids"].repeat(passes, 1)).logits
    torch.testing.assert_close(logits, outputs.logits)
    one, other = (nn.functional.dropout(kept[0][: len(batch["labels"])], 0.1) for _ in range(2))
    expected = zlpr_loss(logits, smooth_targets(batch["labels"], 0.1).repeat(passes, 1))
    if rdrop:
        first, second = logits.chunk(2)
        expected += rdrop * (zlpr_divergence(first, second) + zlpr_divergence(second, first)) / 2
    expected += 2.0 * contrastive_loss(one, other, batch["labels"], temperature=0.2).mean()
    torch.testing.assert_close(value, expected)
    noisy.eval()
    calm, outputs = trainer.compute_loss(noisy, batch, return_outputs=True)
    torch.testing.assert_close(calm, zlpr_loss(outputs.logits, batch["labels"]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_contrastive_loss_of_a_decoder_reads_the_last_token(tmp_path: Path, side: str) -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=30, n_positions=16, n_embd=8, n_layer=1, n_head=2, num_labels=3, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    decoder = GPT2ForSequenceClassification(config)
    trainer = ZLPRTrainer(model=decoder, args=arguments(tmp_path, contrastive_alpha=1.0))
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0], [11, 0, 0, 0]])
    if side == "left":
        ids[1:] = torch.tensor([[0, 0, 9, 10], [0, 0, 0, 11]])
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}
    decoder.train()
    torch.manual_seed(1)
    value = trainer.compute_loss(decoder, batch)
    hidden = decoder.transformer(ids, attention_mask=batch["attention_mask"])[0]
    ends = [3, 3, 3] if side == "left" else [3, 1, 0]
    features = hidden[torch.arange(3), ends]
    torch.testing.assert_close(
        decoder(ids, attention_mask=batch["attention_mask"]).logits, decoder.score(features)
    )
    expected = zlpr_loss(decoder.score(features), labels)
    torch.manual_seed(1)
    one, other = (nn.functional.dropout(features, 0.1) for _ in range(2))
    expected += contrastive_loss(one, other, labels).mean()
    torch.testing.assert_close(value, expected)


class TwoReplicas(nn.DataParallel[BertForSequenceClassification]):
    """Each half of a batch in its own pass, as on two GPUs without a launcher."""

    def forward(self, **inputs: Any) -> Any:
        parts = [{name: value.chunk(2)[i] for name, value in inputs.items()
                  if isinstance(value, torch.Tensor)} for i in range(2)]  # fmt: skip
        first, second = (self.module(**part, return_dict=True) for part in parts)
        first.logits = torch.cat([first.logits, second.logits])
        return first


@pytest.mark.parametrize("rdrop", [0.0, 0.5])
def test_contrastive_loss_compares_the_texts_of_all_replicas(rdrop: float, tmp_path: Path) -> None:
    trainer, plain, batch = noisy_batch(tmp_path, contrastive_alpha=1.0, rdrop_alpha=rdrop)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    values = []
    for each in (plain, TwoReplicas(plain)):
        each.train()
        torch.manual_seed(1)
        values.append(trainer.compute_loss(each, dict(batch)))
    torch.testing.assert_close(values[0], values[1])


def test_contrastive_loss_of_single_texts_warns_and_changes_nothing(tmp_path: Path) -> None:
    single = {"per_device_train_batch_size": 1}
    with pytest.warns(UserWarning, match="contrastive_alpha"):
        trainer = ZLPRTrainer(
            model=model(),
            args=arguments(tmp_path, contrastive_alpha=1.0, **single),
            train_dataset=rows(),
        )
    plain = ZLPRTrainer(model=model(), args=arguments(tmp_path, **single), train_dataset=rows())
    expected = trained(plain)
    for name, value in trained(trainer).items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)


def test_contrastive_loss_needs_a_linear_head(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contrastive_alpha: needs a model that ends with"):
        ZLPRTrainer(model=nn.Embedding(30, 3), args=arguments(tmp_path, contrastive_alpha=1.0))


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_distillation_mixes_the_loss_and_the_divergence(tmp_path: Path, share: float) -> None:
    teacher = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(3))
    data = rows().add_column("teacher_logits", teacher.tolist())
    args = arguments(
        tmp_path, num_train_epochs=1, per_device_train_batch_size=ROWS, head_learning_rate=1e-3,
        distillation_alpha=share,
    )  # fmt: skip
    found = trained(ZLPRTrainer(model=model(), args=args, train_dataset=data))
    expected, batch = model(), data.with_format("torch")[:]
    logits = expected(batch["input_ids"]).logits
    loss = (1 - share) * zlpr_loss(logits, batch["labels"])
    (loss + share * zlpr_divergence(logits, batch["teacher_logits"])).backward()
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found[name], (parameter - 1e-3 * parameter.grad).detach())


def test_losses_without_divergence_are_refused(tmp_path: Path) -> None:
    data = rows().add_column("teacher_logits", torch.zeros(ROWS, 3).tolist())
    args = arguments(tmp_path, loss="bce")
    with pytest.raises(ValueError, match=r"teacher_logits: .*\(zlpr\), got bce"):
        ZLPRTrainer(model=model(), args=args, train_dataset=data).train()
    with pytest.raises(ValueError, match=r"rdrop_alpha: .*\(zlpr\), got bce"):
        ZLPRTrainer(model=model(), args=arguments(tmp_path, rdrop_alpha=1.0), loss=BCELoss())


def test_powerset_with_a_model_of_your_own(tmp_path: Path) -> None:
    args = arguments(tmp_path, loss="powerset")
    with pytest.raises(ValueError, match=r"one output per label set \(\d\), got 3"):
        ZLPRTrainer(model=model(), args=args, train_dataset=rows())
    sets = len(set(map(tuple, rows()["labels"][:])))
    torch.manual_seed(0)
    wide = BertForSequenceClassification(tiny_config(num_labels=sets))
    trainer = ZLPRTrainer(model=wide, args=args, train_dataset=rows(), eval_dataset=rows())
    assert trainer.predict(rows()).predictions.shape == (ROWS, 3)
    assert 0 <= trainer.evaluate()["eval_subset_accuracy"] <= 1
    trainer.train()
    assert wide.config.problem_type == "single_label_classification"


def rates_of(trainer: ZLPRTrainer) -> list[float]:
    """Return the learning rates of encoder and head."""
    return sorted({group["lr"] for group in trainer.create_optimizer().param_groups})


@pytest.mark.parametrize(
    "change",
    [
        lambda args: setattr(args, "learning_rate", 1e-4),
        lambda args: args.set_training(learning_rate=1e-4),
        lambda args: dataclasses.replace(args, learning_rate=1e-4),
    ],
    ids=["assigned", "set_training", "replaced"],
)
def test_rate_of_the_head_follows_later_changes(tmp_path: Path, change: Any) -> None:
    args = arguments(tmp_path)
    args = change(args) or args
    trainer = ZLPRTrainer(model=model(), args=args, train_dataset=rows())
    assert rates_of(trainer) == pytest.approx([1e-4, 1e-3])


def test_rate_of_the_head_follows_a_search(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    class Look(TrainerCallback):
        def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
            seen.append(sorted({group["initial_lr"] for group in optimizer.param_groups}))

    args = arguments(tmp_path, learning_rate=1e-5, max_steps=1)
    trainer = ZLPRTrainer(
        model_init=lambda trial=None: model(), args=args, train_dataset=rows(),
        eval_dataset=rows(), callbacks=[Look()],
    )  # fmt: skip
    trainer.hyperparameter_search(
        hp_space=lambda trial: {
            "learning_rate": trial.suggest_categorical("learning_rate", [1e-3])
        },
        n_trials=1,
        backend="optuna",
        direction="minimize",
    )
    assert seen == [pytest.approx([1e-3, 1e-2])]


def gradient_of(trainer: type[Trainer], data: Dataset, *, gpus: int = 1, **more: Any) -> Any:
    """Return the gradient of the first step, with the batches of several simulated GPUs."""
    found: list[torch.Tensor] = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
            grads = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
            found.append(torch.cat(grads))

    with tempfile.TemporaryDirectory() as folder:
        args = arguments(
            Path(folder), per_device_train_batch_size=4 // gpus, gradient_accumulation_steps=2
        )
        assert args.n_gpu in (0, 1)
        args._n_gpu = gpus
        trainer(model=model(), args=args, train_dataset=data, callbacks=[Look()], **more).train()
    return found[0]


@pytest.mark.parametrize("unknown", [0, 2], ids=["all known", "NaN"])
@pytest.mark.parametrize(("gpus", "build"), [(1, ZLPRLoss), (2, build_compute_loss_func)])
def test_stock_trainer_has_the_gradient_of_zlpr_trainer(
    unknown: int, gpus: int, build: Callable[[], Any]
) -> None:
    labels = torch.tensor(rows()["labels"][:])
    labels[:, :unknown] = torch.nan
    data = with_labels(labels)
    expected = gradient_of(ZLPRTrainer, data)
    found = gradient_of(Trainer, data, gpus=gpus, compute_loss_func=build())
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("last_only", [False, True])
def test_stock_trainer_refuses_labels_that_it_does_not_count(last_only: bool) -> None:
    labels = torch.tensor(rows()["labels"][:])
    labels[7 if last_only else slice(None)] = -100  # a row is a whole number of examples
    with pytest.raises(ValueError, match="use NaN or ZLPRTrainer"):
        gradient_of(Trainer, with_labels(labels), compute_loss_func=build_compute_loss_func())


def test_stock_trainer_evaluates_labels_that_it_does_not_count(tmp_path: Path) -> None:
    labels = torch.tensor(rows()["labels"][:])
    labels[:, :2] = -100
    args, data = arguments(tmp_path, per_device_eval_batch_size=ROWS), with_labels(labels)
    expected = ZLPRTrainer(model=model(), args=args, eval_dataset=data).evaluate()["eval_loss"]
    stock = Trainer(
        model=model(), args=args, eval_dataset=data, compute_loss_func=build_compute_loss_func()
    )
    assert stock.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
