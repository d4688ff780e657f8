"""cpu_speedups: off unless asked for, in the model alone, and undone however training ends."""

import copy
import csv
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from tests.builders import tiny_config
from zlpr_hf import ZLPRTrainer, ZLPRTrainingArguments
from zlpr_hf.training.cpu_speedups import (
    MAX_PLAIN_ATTENTION_TOKENS,
    PLAIN_ATTENTION,
    PLAIN_ATTENTION_TYPES,
    speed_up_training,
)
from zlpr_hf.training.dropout import MIN_ELEMENTS, fast_dropout
from zlpr_hf.workflows.arguments import parse_arguments, render_config

LOGGERS = ("", "transformers", "zlpr_hf", "torch", "accelerate")
STOCK_DROPOUT = functional.dropout


def surroundings() -> dict[str, Any]:
    """Everything outside the model that training could change."""
    return {
        "dropout": functional.dropout is STOCK_DROPOUT,
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "csv": csv.field_size_limit(),
        "handlers": {name: list(logging.getLogger(name).handlers) for name in LOGGERS},
        "environment": dict(os.environ),
    }


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything in a model but its weights that training could change."""
    config: Any = model.config
    return {
        "attention": config._attn_implementation,
        "forwards": [name for name, each in model.named_modules() if "forward" in vars(each)],
        "hooks": [
            name
            for name, each in model.named_modules()
            if each._forward_hooks or each._forward_pre_hooks or each._backward_hooks
        ],
    }


class Look(TrainerCallback):
    """Records both at the end of each step, and then fails or waits if asked to."""

    def __init__(self, then: Callable[[], Any] = lambda: None) -> None:
        self.outside: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        self.arguments: list[dict[str, Any]] = []
        self.then = then

    def on_step_end(self, args: Any, *_: Any, model: Any = None, **__: Any) -> None:
        self.outside.append(surroundings())
        self.models.append(state_of(model))
        self.arguments.append(args.to_dict())
        self.then()


def make_trainer(
    folder: Path, *, speedups: bool, limit: int = 64, tokenizer: Any = None, **more: Any
) -> ZLPRTrainer:
    torch.manual_seed(0)
    model = more.pop("model", None) or BertForSequenceClassification(tiny_config(num_labels=3))
    rows = Dataset.from_dict({"input_ids": [[5, 6, 7]] * 4, "labels": [[1.0, 0.0, 1.0]] * 4})
    if tokenizer is not None:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.model_max_length = limit
    arguments = ZLPRTrainingArguments(
        output_dir=str(folder), num_train_epochs=2, per_device_train_batch_size=2,
        learning_rate=1e-2, label_smoothing_factor=0.1, save_strategy="steps", save_steps=1,
        save_total_limit=2, report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
        cpu_speedups=speedups,
    )  # fmt: skip
    return ZLPRTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, **more
    )


def test_training_changes_nothing_unasked(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    look = Look()
    model = BertForSequenceClassification(tiny_config(num_labels=3))
    before, model_before = surroundings(), state_of(model)
    trainer = make_trainer(
        tmp_path, speedups=False, tokenizer=tokenizer, model=model, callbacks=[look]
    )
    arguments = trainer.args
    given = arguments.to_dict()
    assert given["label_smoothing_factor"] == 0.1
    trainer.train()
    trainer.evaluate(trainer.train_dataset)
    assert trainer.args is arguments
    assert arguments.to_dict() == given
    assert look.arguments == [given] * 4
    assert look.outside == [before] * 4
    assert look.models == [model_before] * 4
    assert surroundings() == before
    assert state_of(model) == model_before
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-3", "checkpoint-4",
    ]  # fmt: skip


@pytest.mark.parametrize("label_smoothing_factor", [0.0, 0.1])
def test_the_users_arguments_stay_as_they_are(
    tmp_path: Path, label_smoothing_factor: float
) -> None:
    arguments = ZLPRTrainingArguments(
        output_dir=str(tmp_path), label_smoothing_factor=label_smoothing_factor, report_to="none"
    )
    given = arguments.to_dict()
    model = BertForSequenceClassification(tiny_config(num_labels=3))
    assert ZLPRTrainer(model, arguments).args is arguments
    assert arguments.to_dict() == given


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_speedups_stay_in_the_model_and_are_undone(
    error: type[BaseException] | None, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def fail() -> None:
        if error is not None:
            raise error

    look = Look(fail)
    before = surroundings()
    trainer = make_trainer(tmp_path, speedups=True, tokenizer=tokenizer, callbacks=[look])
    model_before = state_of(trainer.model)
    if error is None:
        trainer.train()
    else:
        with pytest.raises(error):
            trainer.train()
    assert look.outside == [before] * (4 if error is None else 1)
    for inside in look.models:
        assert inside["attention"] == PLAIN_ATTENTION
        assert inside["forwards"]
        assert len(inside["hooks"]) == len(model_before["hooks"]) + 1
    assert surroundings() == before
    assert state_of(trainer.model) == model_before
    for path in tmp_path.glob("checkpoint-*/config.json"):
        assert PLAIN_ATTENTION not in path.read_text()


def test_overlapping_trainers_do_not_disturb_each_other(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """One ends, with an error, while the other trains; a third one has no speedups."""
    before = surroundings()
    together, gone = threading.Barrier(3, timeout=60), threading.Event()

    def meet_and_fail() -> None:
        together.wait()
        raise KeyError

    def meet_and_outlive() -> None:
        if not gone.is_set():
            together.wait()
            assert gone.wait(60)

    looks = {"failing": Look(meet_and_fail), "lasting": Look(meet_and_outlive),
             "plain": Look(meet_and_outlive)}  # fmt: skip
    trainers = {
        name: make_trainer(
            tmp_path / name, speedups=name != "plain", tokenizer=tokenizer, callbacks=[look]
        )
        for name, look in looks.items()
    }
    models = {name: state_of(trainer.model) for name, trainer in trainers.items()}
    errors: dict[str, BaseException] = {}

    def train(name: str) -> None:
        try:
            trainers[name].train()
        except BaseException as error:
            errors[name] = error
        finally:
            if name == "failing":
                gone.set()

    threads = [threading.Thread(target=train, args=(name,)) for name in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: type(error) for name, error in errors.items()} == {"failing": KeyError}
    assert {each["attention"] for each in looks["lasting"].models} == {PLAIN_ATTENTION}
    assert len(looks["lasting"].models) == 4
    assert looks["plain"].models == [models["plain"]] * 4
    for look in looks.values():
        assert all(each == before for each in look.outside)
    assert surroundings() == before
    assert {name: state_of(trainer.model) for name, trainer in trainers.items()} == models


@pytest.mark.parametrize(
    ("limit", "attention"),
    [
        (MAX_PLAIN_ATTENTION_TOKENS, PLAIN_ATTENTION),
        (MAX_PLAIN_ATTENTION_TOKENS + 1, "sdpa"),
        (None, "sdpa"),
    ],
)
def test_long_texts_keep_fused_attention(
    limit: int | None, attention: str, tiny_model: BertForSequenceClassification
) -> None:
    with speed_up_training(tiny_model, on_cpu=True, max_length=limit):
        assert tiny_model.config._attn_implementation == attention
    assert tiny_model.config._attn_implementation == "sdpa"


def test_another_chosen_attention_stays(tiny_model: BertForSequenceClassification) -> None:
    tiny_model.set_attn_implementation("eager")
    with speed_up_training(tiny_model, on_cpu=True, max_length=8):
        assert tiny_model.config._attn_implementation == "eager"
    assert tiny_model.config._attn_implementation == "eager"


def test_on_another_device_only_unused_tokens_are_skipped(
    tiny_model: BertForSequenceClassification,
) -> None:
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    before = state_of(tiny_model)
    with speed_up_training(tiny_model, on_cpu=False, max_length=8):
        inside = state_of(tiny_model)
        assert tiny_model.base_model(**inputs)[0].shape[1] == 1
    assert inside["attention"] == "sdpa"
    assert inside["forwards"] == []
    assert tiny_model.base_model(**inputs)[0].shape[1] == 5
    assert state_of(tiny_model) == before


@pytest.mark.parametrize("kind", PLAIN_ATTENTION_TYPES)
def test_plain_attention_is_that_of_transformers(kind: str) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 48}  # fmt: skip
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
    config = AutoConfig.for_model(kind, vocab_size=50, num_labels=3, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")
    inputs = {
        "input_ids": torch.randint(5, 50, (3, 7)),
        "attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 2 + [0] * 5]),
    }
    model.eval()
    expected = model(**inputs).logits
    with speed_up_training(model, on_cpu=True, max_length=8):
        assert model.config._attn_implementation == PLAIN_ATTENTION
        found = model(**inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_dropout_layers_and_attention_drop_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    def record(values: Tensor, p: float) -> Tensor:
        rates.append(p)
        return fast_dropout(values, p)

    monkeypatch.setattr("zlpr_hf.training.dropout.MIN_ELEMENTS", 1)
    monkeypatch.setattr("zlpr_hf.training.dropout.fast_dropout", record)
    config = tiny_config(num_labels=3, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)
    model = BertForSequenceClassification(config).train()
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    with speed_up_training(model, on_cpu=True, max_length=8):
        model(**inputs)
        assert rates == [0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2, 0.2]
        model.eval()(**inputs)
    assert len(rates) == 8
    model.train()(**inputs)
    assert len(rates) == 8


def test_resumed_run_has_identical_weights(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlpr_hf.training.dropout.MIN_ELEMENTS", 1)
    whole = make_trainer(tmp_path, speedups=True, tokenizer=tokenizer)
    whole.train()
    resumed = make_trainer(tmp_path, speedups=True, tokenizer=tokenizer)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    plain = make_trainer(tmp_path / "plain", speedups=False, tokenizer=tokenizer)
    plain.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    weight = "bert.pooler.dense.weight"
    assert not torch.equal(plain.model.state_dict()[weight], whole.model.state_dict()[weight])


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_layers_find_their_masks(reentrant: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.3), nn.Linear(64, 64))
    values = torch.randn(2 * MIN_ELEMENTS // 64, 64, requires_grad=True)

    def gradients(call: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        with speed_up_training(layer, on_cpu=True, max_length=None):
            call(values).square().sum().backward()
        found = tuple(each.grad.clone() for each in (values, *layer.parameters()))
        values.grad = None
        layer.zero_grad()
        return found

    plain = gradients(layer)
    again = gradients(lambda x: checkpoint(layer, x, use_reentrant=reentrant))
    for one, other in zip(plain, again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_training_has_the_weights_of_plain_training(
    reentrant: bool, tokenizer: PreTrainedTokenizerFast, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("zlpr_hf.training.dropout.MIN_ELEMENTS", 1)
    found = []
    for checkpointed in (False, True):
        trainer = make_trainer(tmp_path / str(checkpointed), speedups=True, tokenizer=tokenizer)
        if checkpointed:
            trainer.model.activation_checkpointing_enable({"use_reentrant": reentrant})
        trainer.train()
        found.append(trainer.model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=0, rtol=0, msg=name)


def test_a_copy_of_a_model_in_training_has_its_own_dropout(
    tiny_model: BertForSequenceClassification,
) -> None:
    with speed_up_training(tiny_model, on_cpu=True, max_length=8):
        copied = copy.deepcopy(tiny_model).eval()
        inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
        assert torch.equal(copied(**inputs).logits, copied(**inputs).logits)


def test_search_trials_are_sped_up_one_by_one(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = []

    def make() -> BertForSequenceClassification:
        made.append(BertForSequenceClassification(tiny_config(num_labels=3)))
        return made[-1]

    look = Look()
    trainer = make_trainer(tmp_path, speedups=True, tokenizer=tokenizer, callbacks=[look])
    trainer = ZLPRTrainer(
        model_init=make, args=trainer.args, train_dataset=trainer.train_dataset,
        processing_class=trainer.processing_class, callbacks=[look],
    )  # fmt: skip
    trainer.train()
    assert {each["attention"] for each in look.models} == {PLAIN_ATTENTION}
    assert [each.config._attn_implementation for each in made] == ["sdpa", "sdpa"]


@pytest.mark.parametrize(("options", "on"), [([], True), (["--cpu_speedups=false"], False)])
def test_commands_turn_speedups_on_and_record_them(
    options: list[str], on: bool, tmp_path: Path
) -> None:
    assert not ZLPRTrainingArguments(output_dir=str(tmp_path)).cpu_speedups
    config = parse_arguments([f"--output_dir={tmp_path}", *options])
    assert config.training.cpu_speedups is on
    (tmp_path / "config.yaml").write_text(render_config(config), encoding="utf-8")
    assert f"cpu_speedups: {str(on).lower()}\n" in (tmp_path / "config.yaml").read_text()
    assert parse_arguments([str(tmp_path / "config.yaml")]).training.cpu_speedups is on
