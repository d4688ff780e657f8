"""The device of the tests marked ``gpu``: CUDA, or the CPU to try the tests themselves."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch

from zlpr_hf.training import callbacks

DEVICE = os.environ.get("ZLPR_TEST_DEVICE", "cuda")
ON_CPU = DEVICE == "cpu"
IS_THERE = ON_CPU or torch.cuda.is_available()
requires_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="requires CUDA")


def peak_mib(call: Callable[[], object]) -> float:
    """Return the largest memory of the device during a call, beyond that before it, in MiB."""
    if ON_CPU:
        callbacks.RESET_PEAK.write_text("5")
        before = callbacks._peak_of_process()
        call()
        peak = callbacks._peak_of_process()
        assert before is not None
        assert peak is not None
        return peak - before
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - started) / 2**20
