"""Faster training on a processor: on while it trains, gone afterwards, and nowhere else."""

import ctypes
import platform
import resource

import pytest
import torch
from torch.nn import functional
from transformers import BertForSequenceClassification

from zlpr_hf.dropout import SMALL, fast_dropout
from zlpr_hf.fast_training import SHORT, fast_training

LARGE_BLOCK = 2**27
"""Bytes: more than glibc ever keeps by itself."""


def _drops_fast() -> bool:
    torch.manual_seed(0)
    found = functional.dropout(torch.ones(SMALL), 0.1)
    torch.manual_seed(0)
    return torch.equal(found, fast_dropout(torch.ones(SMALL), 0.1))


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
    with fast_training(tiny_model, on_cpu=True, max_length=SHORT):
        assert tiny_model.config._attn_implementation == "eager"
        assert _drops_fast()
    assert tiny_model.config._attn_implementation == before == "sdpa"
    assert not _drops_fast()


def test_all_is_as_it_was_after_an_error(tiny_model: BertForSequenceClassification) -> None:
    with (
        pytest.raises(KeyError),
        fast_training(tiny_model, on_cpu=True, max_length=SHORT),
    ):
        raise KeyError
    assert tiny_model.config._attn_implementation == "sdpa"
    assert not _drops_fast()


def test_on_another_device_the_last_layer_alone_changes(
    tiny_model: BertForSequenceClassification,
) -> None:
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    with fast_training(tiny_model, on_cpu=False, max_length=SHORT):
        assert tiny_model.config._attn_implementation == "sdpa"
        assert not _drops_fast()
        assert tiny_model.base_model(**inputs)[0].shape[1] == 1
    assert tiny_model.base_model(**inputs)[0].shape[1] == 5


def test_long_texts_and_other_kinds_of_attention_keep_theirs(
    tiny_model: BertForSequenceClassification,
) -> None:
    with fast_training(tiny_model, on_cpu=True, max_length=SHORT + 1):
        assert tiny_model.config._attn_implementation == "sdpa"
        assert _drops_fast()
    tiny_model.set_attn_implementation("eager")
    with fast_training(tiny_model, on_cpu=True, max_length=SHORT):
        assert tiny_model.config._attn_implementation == "eager"
    assert tiny_model.config._attn_implementation == "eager"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has the knob")
def test_memory_that_was_freed_is_kept_for_a_while(
    tiny_model: BertForSequenceClassification,
) -> None:
    outside = _faults_of_large_blocks()
    with fast_training(tiny_model, on_cpu=True, max_length=SHORT):
        inside = _faults_of_large_blocks()
    assert inside < outside / 2
    assert _faults_of_large_blocks() > outside / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has the knob")
def test_thresholds_of_the_environment_stay(
    tiny_model: BertForSequenceClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    outside = _faults_of_large_blocks()
    with fast_training(tiny_model, on_cpu=True, max_length=SHORT):
        assert _faults_of_large_blocks() > outside / 2
