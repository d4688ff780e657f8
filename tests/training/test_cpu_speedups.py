"""Faster training on a processor: on while it trains, gone afterwards, and nowhere else."""

import copy
import ctypes
import platform
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn import functional
from transformers import (
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from zlpr_hf import ZLPRTrainer, ZLPRTrainingArguments
from zlpr_hf.training.cpu_speedups import MAX_EAGER_TOKENS, fast_training
from zlpr_hf.training.dropout import MIN_ELEMENTS, fast_dropout

LARGE_BLOCK = 2**27
"""Bytes: more than glibc ever keeps by itself."""


def _drops_fast() -> bool:
    torch.manual_seed(0)
    found = functional.dropout(torch.ones(MIN_ELEMENTS), 0.1)
    torch.manual_seed(0)
    return torch.equal(found, fast_dropout(torch.ones(MIN_ELEMENTS), 0.1))


def _faults_of_large_blocks() -> int:
    """Pages that the system had to clear for a block that is taken and given back in turn."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def take() -> None:
        block = libc.malloc(LARGE_BLOCK)
        ctypes.memset(block, 1, LARGE_BLOCK)
        libc.free(block)

    take()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        take()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_attention_and_dropout_change_for_a_while(
    tiny_model: BertForSequenceClassification,
) -> None:
    before = tiny_model.config._attn_implementation
    with fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS):
        assert tiny_model.config._attn_implementation == "eager"
        assert _drops_fast()
    assert tiny_model.config._attn_implementation == before == "sdpa"
    assert not _drops_fast()


def test_all_is_as_it_was_after_an_error(tiny_model: BertForSequenceClassification) -> None:
    with (
        pytest.raises(KeyError),
        fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS),
    ):
        raise KeyError
    assert tiny_model.config._attn_implementation == "sdpa"
    assert not _drops_fast()


def test_on_another_device_the_last_layer_alone_changes(
    tiny_model: BertForSequenceClassification,
) -> None:
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    with fast_training(tiny_model, on_cpu=False, max_length=MAX_EAGER_TOKENS):
        assert tiny_model.config._attn_implementation == "sdpa"
        assert not _drops_fast()
        assert tiny_model.base_model(**inputs)[0].shape[1] == 1
    assert tiny_model.base_model(**inputs)[0].shape[1] == 5


def test_long_texts_and_other_kinds_of_attention_keep_theirs(
    tiny_model: BertForSequenceClassification,
) -> None:
    with fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS + 1):
        assert tiny_model.config._attn_implementation == "sdpa"
        assert _drops_fast()
    tiny_model.set_attn_implementation("eager")
    with fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS):
        assert tiny_model.config._attn_implementation == "eager"
    assert tiny_model.config._attn_implementation == "eager"


def _trainer(model: BertForSequenceClassification, folder: Path, **more: Any) -> ZLPRTrainer:
    labels = model.config.num_labels
    rows = Dataset.from_dict({"input_ids": [[5, 6, 7]] * 4, "labels": [[1.0] * labels] * 4})
    arguments = ZLPRTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        save_strategy="steps",
        save_steps=3,
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    return ZLPRTrainer(model=model, args=arguments, train_dataset=rows, **more)


class _Look(TrainerCallback):
    """What holds while a trainer trains."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, bool]] = set()

    def on_step_end(self, *_: Any, model: Any = None, **__: Any) -> None:
        state = torch.get_rng_state()
        self.seen.add((model.config._attn_implementation, _drops_fast()))
        torch.set_rng_state(state)


@pytest.mark.parametrize(
    ("limit", "attention"),
    [(MAX_EAGER_TOKENS, "eager"), (MAX_EAGER_TOKENS + 1, "sdpa"), (None, "sdpa")],
)
def test_the_trainer_is_fast_by_itself(
    limit: int | None,
    attention: str,
    tiny_model: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    limited = None
    if limit is not None:
        limited = copy.deepcopy(tokenizer)
        limited.model_max_length = limit
    look = _Look()
    trainer = _trainer(tiny_model, tmp_path, processing_class=limited, callbacks=[look])
    trainer.train()
    assert look.seen == {(attention, True)}
    assert tiny_model.config._attn_implementation == "sdpa"
    assert not _drops_fast()


def test_a_run_goes_on_with_the_masks_it_would_have_had(
    tiny_model: BertForSequenceClassification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def count(values: torch.Tensor, p: float) -> torch.Tensor:
        drawn.append(p)
        return fast_dropout(values, p)

    monkeypatch.setattr("zlpr_hf.training.dropout.MIN_ELEMENTS", 1)
    monkeypatch.setattr("zlpr_hf.training.dropout.fast_dropout", count)
    again = copy.deepcopy(tiny_model)
    _trainer(tiny_model, tmp_path).train()
    assert drawn
    _trainer(again, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has the knob")
def test_memory_that_was_freed_is_kept_for_a_while(
    tiny_model: BertForSequenceClassification,
) -> None:
    outside = _faults_of_large_blocks()
    with fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS):
        inside = _faults_of_large_blocks()
    assert inside < outside / 2
    assert _faults_of_large_blocks() > outside / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has the knob")
def test_thresholds_of_the_environment_stay(
    tiny_model: BertForSequenceClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    outside = _faults_of_large_blocks()
    with fast_training(tiny_model, on_cpu=True, max_length=MAX_EAGER_TOKENS):
        assert _faults_of_large_blocks() > outside / 2
