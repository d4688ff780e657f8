"""How a model reads long texts: cut, or in windows, as measured on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from zlpr_hf.choices import LongTexts, LongTextsOption
from zlpr_hf.inference.windows import find_blank, merge_windows, split_into_windows
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.metrics.paired_bootstrap import paired_bootstrap
from zlpr_hf.workflows.prepare import Prepared

MAX_WINDOWS = 20_000
"""Windows that are read to compare the rules; of more, a random sample of the texts is compared."""
METRIC = "f1_micro"
LABEL_COLUMNS = ("label_ids", "label_values")

Logits = NDArray[np.float32]
Predict = Callable[[str, Dataset], Logits]
Decide = Callable[[Logits, Any], NDArray[np.bool_]]


@dataclass(frozen=True)
class LongTextRule:
    """The rule of a run for texts longer than ``max_length``, and why.

    ``validation_f1_micro`` has one number per rule if they were compared, ``reason`` says why not.
    ``longer`` and ``texts`` count the texts of each split.
    """

    rule: LongTexts
    max_length: int
    longer: Mapping[str, int]
    texts: Mapping[str, int]
    validation_f1_micro: Mapping[LongTexts, float] = field(default_factory=dict)
    reason: str = ""

    def render(self) -> str:
        """Return one line for the terminal; empty if no text is longer."""
        if not any(self.longer.values()):
            return ""
        split = "test" if self.longer["test"] else "validation"
        reading = "cut" if self.rule == "cut" else f"read with {self.rule} of windows"
        compared = ", ".join(f"{name} {f1:.3f}" for name, f1 in self.validation_f1_micro.items())
        why = f"validation micro-F1: {compared}" if compared else self.reason
        return (
            f"long texts: {self.longer[split]:,} of {self.texts[split]:,} {split} texts are longer "
            f"than {self.max_length:,} tokens; {reading} ({why})"
        )


def apply_long_texts(
    prepared: Prepared,
    logits: Mapping[str, Logits],
    *,
    option: LongTextsOption,
    predict: Predict,
    decide: Decide,
) -> tuple[LongTextRule, dict[str, Logits]]:
    """Choose how the model reads long texts, and return the logits of both splits read like that.

    ``auto`` compares the rules on validation by micro-F1. Reading windows takes longer, and stock
    pipelines and servers cut texts; so ``mean`` or ``max`` is chosen only if the 95 % interval of
    its difference from ``cut`` (paired bootstrap over texts) is above zero, and of both the better.

    Args:
        prepared: Data and tokenizer.
        logits: Logits of each split from texts that were cut.
        option: ``--long_texts``.
        predict: Returns the logits of encoded windows of a split.
        decide: Returns decisions from validation logits and targets, with thresholds tuned if the
            run tunes them, so that each rule is compared with its own.
    """
    counts = count_longer(prepared)
    rule: LongTexts = "cut"
    found: dict[LongTexts, float] = {}
    known: Logits | None = None
    reason = f"--long_texts {option}"
    if option != "auto":
        rule = option
    elif not counts["longer"]["validation"]:
        reason = "no validation text is longer"
    elif not prepared.tokenizer.is_fast:
        reason = "windows require a fast tokenizer"
    else:
        rule, found, known = _compare(prepared, logits["validation"], predict, decide)
    chosen = LongTextRule(rule, **counts, validation_f1_micro=found, reason=reason)
    if rule == "cut":
        return chosen, dict(logits)
    read = {} if known is None else {"validation": known}
    for split in logits.keys() - read.keys():
        values, windows = logits[split], split_rows(prepared, split)
        if len(windows):
            owners = np.asarray(windows["text_row"])
            read[split] = merge_into(values, predict(split, windows), owners, rule)
        else:
            read[split] = values
    return chosen, read


def count_longer(prepared: Prepared) -> dict[str, Any]:
    """Return the limit, and the number of longer texts and of all texts of each held-out split."""
    rows = {split: prepared.encoded[split]["truncated"] for split in ("validation", "test")}
    return {
        "max_length": prepared.tokenizer.model_max_length,
        "longer": {split: int(np.sum(each)) for split, each in rows.items()},
        "texts": {split: len(each) for split, each in rows.items()},
    }


def choose_rule(
    decisions: Mapping[LongTexts, NDArray[np.bool_]], targets: Any
) -> tuple[LongTexts, dict[LongTexts, float]]:
    """Return the rule for long texts, and the micro-F1 of each, from decisions ``(N, L)``."""
    found = {
        rule: compute_decision_metrics(decided, targets)[METRIC]
        for rule, decided in decisions.items()
    }
    differences = paired_bootstrap(
        {rule: [decided] for rule, decided in decisions.items()}, targets, reference="cut"
    )
    better: list[LongTexts] = [
        rule for rule, each in differences.items() if each[METRIC].relation == "better"
    ]
    return max(better, key=lambda rule: (found[rule], rule), default="cut"), found


def _compare(
    prepared: Prepared, cut: Logits, predict: Predict, decide: Decide
) -> tuple[LongTexts, dict[LongTexts, float], Logits | None]:
    """Return the rule, the micro-F1 of each, and the logits that it reads if it read all rows."""
    windows, targets = split_rows(prepared, "validation"), prepared.data.targets("validation")
    rows = _rows_to_compare(np.asarray(windows["text_row"]), len(cut))
    if len(rows) < len(cut):
        windows = windows.select(np.flatnonzero(np.isin(windows["text_row"], rows)))
    window_logits = predict("validation", windows)
    owners = np.asarray(windows["text_row"])
    read: dict[LongTexts, Logits] = {
        rule: merge_into(cut, window_logits, owners, rule) for rule in get_args(LongTexts)
    }
    decisions = {rule: decide(each[rows], targets[rows]) for rule, each in read.items()}
    rule, found = choose_rule(decisions, targets[rows])
    return rule, found, read[rule] if len(rows) == len(cut) else None


def _rows_to_compare(owners: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return all rows, or a random sample of them that has about ``MAX_WINDOWS`` windows."""
    if len(owners) <= MAX_WINDOWS:
        return np.arange(count)
    order = np.random.default_rng(0).permutation(count)
    windows = np.cumsum(np.bincount(owners, minlength=count)[order])
    return np.sort(order[: np.searchsorted(windows, MAX_WINDOWS) + 1])


def merge_into(
    cut: Logits, window_logits: Logits, owners: NDArray[np.intp], rule: LongTexts
) -> Logits:
    """Return logits ``(N, L)`` with those of long texts merged from their windows ``(W, L)``."""
    if rule == "cut":
        return cut
    long, places = np.unique(owners, return_inverse=True)
    read = cut.copy()
    read[long] = merge_windows(window_logits, places, len(long), rule)
    return read


def split_rows(prepared: Prepared, split: str) -> Dataset:
    """Return the windows of the long texts of a split, encoded; ``text_row`` is the row of each."""
    rows, tokenizer = prepared.data.splits[prepared.data.split_of(split)], prepared.tokenizer
    blank = find_blank(prepared.data.texts(split))
    long = np.flatnonzero(np.asarray(prepared.encoded[split]["truncated"]) & ~blank)
    texts = [name for name in ("text", "text_pair") if name in rows.column_names]

    def split_batch(batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        pairs = list(zip(*(batch[name] for name in texts), strict=True))
        windows, places = split_into_windows(tokenizer, pairs, cut=False)
        return {
            **{name: [window[name] for window in windows] for name in windows[0]},
            "length": [len(window["input_ids"]) for window in windows],
            "text_row": [int(long[indices[place]]) for place in places],
            **{name: [batch[name][place] for place in places] for name in LABEL_COLUMNS},
        }

    return rows.select(long).map(
        split_batch,
        batched=True,
        with_indices=True,
        remove_columns=rows.column_names,
        desc=f"tokenise windows of {split}",
    )
