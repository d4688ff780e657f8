"""What makes training faster, on a processor above all, and leaves its result alone."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from zlpr_hf.models.first_token import first_token_only
from zlpr_hf.training.dropout import all_dropout_fast

MAX_EAGER_TOKENS = 128
"""Tokens up to which a processor is faster without fused attention."""

# Parameters of glibc's mallopt, and the largest values that glibc chooses by itself.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
DEFAULT_TRIM_THRESHOLD, DEFAULT_MMAP_THRESHOLD = 2**26, 2**25
MALLOC_VARIABLES = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"}
"""Variables that set them."""


@contextmanager
def fast_training(model: Any, *, on_cpu: bool, max_length: int | None) -> Iterator[None]:
    """Train faster: the last layer computes what is read of it (:mod:`zlpr_hf.models.first_token`).

    On a processor also dropout draws fewer random bits (:mod:`zlpr_hf.training.dropout`), short
    texts are attended to by plain matrix products, and memory that a step gave back is kept for the
    next one.

    Args:
        model: Any module; afterwards it computes as before.
        on_cpu: Whether training runs on the processor.
        max_length: Longest text in tokens; None where it is not known.
    """
    with ExitStack() as stack:
        stack.enter_context(first_token_only(model))
        if on_cpu and max_length is not None and max_length <= MAX_EAGER_TOKENS:
            stack.enter_context(_plain_attention(model))
        if on_cpu:
            stack.enter_context(_kept_memory())
            stack.enter_context(all_dropout_fast())
        yield


@contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Attention in steps: torch's fused kernel for processors knows no dropout, and what stands in
    for it takes the same steps and more.
    """
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if before != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _kept_memory() -> Iterator[None]:
    """Have glibc keep what was freed: it asks the system for large blocks anew each time, and the
    system clears every page of them. Other allocators have no such knob and keep it by themselves.

    Afterwards the thresholds stand at the largest that glibc chooses by itself. Whoever has set
    them in the environment keeps them.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    chosen = MALLOC_VARIABLES & os.environ.keys()
    if chosen or libc is None or not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    if not libc.mallopt(M_MMAP_THRESHOLD, 2**30):  # older ones refuse more than their own largest
        libc.mallopt(M_MMAP_THRESHOLD, DEFAULT_MMAP_THRESHOLD)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, DEFAULT_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM_THRESHOLD)
        libc.malloc_trim(0)
