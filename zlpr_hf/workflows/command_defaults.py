"""Defaults of commands, where Python code has those of transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from zlpr_hf.choices import FALSE_WORDS

AUTO_OPTIONS = (
    "contrastive_alpha", "dropout", "learning_rate", "max_length", "num_train_epochs",
    "per_device_train_batch_size",
)  # fmt: skip
"""Options that commands choose from the data and the encoder unless they are given."""
COMMAND_DEFAULTS: dict[str, Any] = {
    "cpu_speedups": True,
    "weight_averaging": "ema",
    "train_sampling_strategy": "group_by_length",
    "per_device_eval_batch_size": 64,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "logging_strategy": "epoch",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "f1_micro",
    "best_model_rule": "one_standard_error",
    "early_stopping_patience": 3,
}
BEST_MODEL = {
    "load_best_model_at_end", "metric_for_best_model", "best_model_rule", "early_stopping_patience",
}  # fmt: skip
SPLIT_WEIGHTS = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
"""Variables that ``accelerate launch`` sets."""
TIMES = ("eval_strategy", "save_strategy")


def command_defaults(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the defaults of commands; with other times to evaluate or save, the last model stays.

    Weights that FSDP or DeepSpeed split over processes are not averaged. ``given`` are the options
    of the command line and of the configuration, with their values.
    """
    keeps_best = given.get("load_best_model_at_end")
    own_times = any(given.get(name, "epoch") != "epoch" for name in TIMES)
    if own_times if keeps_best is None else keeps_best.lower() in FALSE_WORDS:
        defaults = {name: COMMAND_DEFAULTS[name] for name in COMMAND_DEFAULTS.keys() - BEST_MODEL}
    else:
        defaults = dict(COMMAND_DEFAULTS)
    if given.keys() & {"fsdp", "deepspeed"} or any(os.environ.get(name) for name in SPLIT_WEIGHTS):
        defaults["weight_averaging"] = "none"
    return defaults


def find_given(words: list[str]) -> dict[str, str]:
    """Return the options that words set, each with its first value."""
    pairs = zip(words, [*words[1:], ""], strict=False)
    return {
        name: value if equals else after
        for word, after in pairs
        if word.startswith("--")
        for name, equals, value in [word[2:].partition("=")]
    }


def without_auto(words: list[str]) -> list[str]:
    """Leave out options that are given as ``auto``, with the values they had before."""
    kept: list[str] = []
    for index, word in enumerate(words):
        name, _, value = word.removeprefix("--").partition("=")
        after = words[index + 1] if index + 1 < len(words) else ""
        if name in AUTO_OPTIONS and word.startswith("--") and (value or after) == "auto":
            kept = _without_option(kept, name)
        elif not (word == "auto" and index and words[index - 1].removeprefix("--") in AUTO_OPTIONS):
            kept.append(word)
    return kept


def _without_option(words: list[str], name: str) -> list[str]:
    return [
        word
        for index, word in enumerate(words)
        if word.partition("=")[0] != f"--{name}" and (not index or words[index - 1] != f"--{name}")
    ]
