"""The verdict on a run: differences from the SVM, the weakest labels with a reason, the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.counts import count_confusions
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.metrics.paired_bootstrap import Bools, Difference, paired_bootstrap
from zlpr_hf.thresholds import compute_scores

SVM_ROW = "TF-IDF + linear SVM"
COMPARED = {"f1_micro": "F1 micro", "f1_macro": "F1 macro", "subset_accuracy": "exact match"}
MAX_WEAK_LABELS = 5
RARE = 20
"""A label with fewer training texts is called rare."""
FEW_TEST_TEXTS = 5
MIN_MISTAKES = 3
"""Mistakes of a label that have something in common, to be a reason."""
MIN_PRECISION = 0.3
"""Average precision of a label that the threshold hides, not the ranking."""
CONFIDENT_SCORE = 0.9
"""Score above which, or below whose complement, a wrong decision is a disagreement with the tag."""

Cause = Literal[
    "threshold", "few training texts", "few test texts", "cut texts", "confusion", "tags",
    "missed", "invented",
]  # fmt: skip


@dataclass(frozen=True)
class WeakLabel:
    """A label with a low F1 on the test split, and the reason that the numbers suggest."""

    label: str
    f1: float
    support: int
    cause: Cause
    reason: str


@dataclass(frozen=True)
class HistoryEntry:
    """Losses and F1 at an evaluation; ``kept`` marks the one whose weights are the model's.

    The training loss is the mean since the last evaluation. None stands for a number that was not
    logged.
    """

    epoch: float
    train_loss: float | None
    validation_loss: float | None
    f1_micro: float | None
    f1_macro: float | None
    kept: bool


@dataclass(frozen=True)
class Mistakes:
    """Wrong decisions on the test split.

    Args:
        missed: True cells that are not predicted, ``(N, L)``.
        invented: Predicted cells that are known to be false, ``(N, L)``.
        confident: Cells with a score near 0 or 1, ``(N, L)``.
        cut: Rows whose text was cut, ``(N,)``.
    """

    missed: Bools
    invented: Bools
    confident: Bools
    cut: Bools

    @classmethod
    def from_logits(cls, logits: Any, decided: Bools, targets: Any, cut: Any) -> Mistakes:
        """Compare decisions with the known targets."""
        truth = np.asarray(targets, dtype=np.float32)
        known, scores = known_mask(truth), compute_scores(logits)
        present = known & (truth >= 0.5)
        return cls(
            present & ~decided,
            known & ~present & decided,
            np.maximum(scores, 1 - scores) > CONFIDENT_SCORE,
            np.asarray(cut, dtype=bool),
        )


def compare_with_baseline(
    decided: Bools, baseline: Bools, targets: Any, *, resamples: int = 1000
) -> dict[str, Difference]:
    """Return the differences of decisions from a baseline's on the same rows, per metric."""
    predictions = {"model": [decided], "baseline": [baseline]}
    found = paired_bootstrap(predictions, targets, reference="baseline", resamples=resamples)
    return {name: found["model"][name] for name in COMPARED}


def render_verdict(differences: Mapping[str, Difference]) -> str:
    """Return one sentence on the differences from the SVM; empty if there are none."""
    groups: dict[str, list[str]] = {}
    for words in ("better in", "level in", "worse in"):
        groups[words] = []
    for name, title in COMPARED.items():
        each = differences.get(name)
        if each is None:
            continue
        if each.relation is None:
            cell = f"{title} ({each.difference:+.3f})"
            groups.setdefault(f"no interval, since {each.missing}, for", []).append(cell)
        else:
            groups[f"{each.relation} in"].append(f"{title} ({render_difference(each)})")
    parts = [f"{words} {_enumerate(cells)}" for words, cells in groups.items() if cells]
    return f"Compared with {SVM_ROW} (95 % intervals): {'; '.join(parts)}." if parts else ""


def render_difference(difference: Difference) -> str:
    """Return a difference with its interval, or with the reason why it has none."""
    text = f"{difference.difference:+.3f}"
    if difference.ends is None:
        return f"{text}, no interval: {difference.missing}"
    low, high = difference.ends
    return f"{text}, {low:+.3f} to {high:+.3f}"


def _enumerate(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def find_weak_labels(
    scores: Iterable[LabelScore],
    train_counts: Mapping[str, int],
    mistakes: Mistakes | None = None,
    *,
    limit: int = MAX_WEAK_LABELS,
) -> list[WeakLabel]:
    """Return the labels of the test split with the lowest F1, each with one reason.

    Args:
        scores: Test metrics of all labels, in the order of the columns of ``mistakes``.
        train_counts: Training texts per label.
        mistakes: Wrong decisions; without them, the reasons come from counts alone.
        limit: Maximum number of labels; those without a mistake are left out.
    """
    every = list(scores)
    weak = [place for place, each in enumerate(every) if each.support and each.f1 < 1]
    weak.sort(key=lambda place: (every[place].f1, -every[place].support))
    names = [each.label for each in every]
    found = []
    for place in weak[:limit]:
        score = every[place]
        cause, reason = _explain(score, train_counts[score.label], mistakes, place, names)
        found.append(WeakLabel(score.label, score.f1, score.support, cause, reason))
    return found


def _explain(
    score: LabelScore, trained: int, mistakes: Mistakes | None, place: int, names: Sequence[str]
) -> tuple[Cause, str]:
    precision = score.average_precision or 0.0
    if (
        score.support >= FEW_TEST_TEXTS
        and 4 * score.predicted <= score.support
        and precision >= MIN_PRECISION
    ):
        times = f"predicted only {score.predicted} times" if score.predicted else "never predicted"
        return "threshold", f"{times}, although it ranks well (average precision {precision:.2f})"
    if trained < RARE:
        return "few training texts", _count(trained, "training text")
    if score.support < FEW_TEST_TEXTS:
        return "few test texts", f"only {_count(score.support, 'test text')}, so F1 says little"
    found = mistakes and _explain_mistakes(mistakes, place, names)
    if found:
        return found
    true_positives = round(score.recall * score.support)
    if score.precision < score.recall:
        wrong = score.predicted - true_positives
        return "invented", f"{wrong} of {_count(score.predicted, 'prediction')} are wrong"
    missed = score.support - true_positives
    return "missed", f"missed in {missed} of {_count(score.support, 'text')}"


def _explain_mistakes(
    mistakes: Mistakes, place: int, names: Sequence[str]
) -> tuple[Cause, str] | None:
    """Return a property that half of the mistakes of a label share, if there is one."""
    missed, invented = mistakes.missed[:, place], mistakes.invented[:, place]
    wrong = missed | invented
    total = int(wrong.sum())
    enough = max(MIN_MISTAKES, total / 2)
    confusions = count_confusions(mistakes.missed, mistakes.invented, place)
    other = int(confusions.argmax())
    if confusions[other] >= enough:
        times = f"{confusions[other]} of {total} mistakes"
        return "confusion", f"confused with {names[other]} in {times}"
    cut = int(mistakes.cut[missed].sum())
    if (
        cut >= max(MIN_MISTAKES, missed.sum() / 2)
        and cut > 1.5 * missed.sum() * mistakes.cut.mean()
    ):
        return "cut texts", f"{cut} of the {missed.sum()} missed texts were cut"
    confident = int((wrong & mistakes.confident[:, place]).sum())
    if confident >= enough:
        return (
            "tags",
            f"model and tag disagree firmly in {confident} of {total} mistakes: check the tags",
        )
    return None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def read_history(log: Sequence[Mapping[str, Any]], kept_step: int | None) -> list[HistoryEntry]:
    """Return the evaluations of a trainer's log, or its training losses if there are none.

    Args:
        log: Entries of ``trainer.state.log_history``.
        kept_step: Step whose weights are the model's (default: that of the last entry).
    """
    key = "eval_loss" if any("eval_loss" in entry for entry in log) else "loss"
    steps = [entry["step"] for entry in log if key in entry]
    kept = kept_step if kept_step in steps else (steps or [None])[-1]
    found: list[HistoryEntry] = []
    losses: list[tuple[float, int]] = []
    last_step = 0
    for entry in log:
        if "loss" in entry:
            losses.append((float(entry["loss"]), max(entry["step"] - last_step, 1)))
            last_step = entry["step"]
        if key in entry:
            found.append(
                HistoryEntry(
                    epoch=float(entry["epoch"]),
                    train_loss=_weighted_mean(losses),
                    validation_loss=entry.get("eval_loss"),
                    f1_micro=entry.get("eval_f1_micro"),
                    f1_macro=entry.get("eval_f1_macro"),
                    kept=entry["step"] == kept,
                )
            )
            losses = []
    return found


def _weighted_mean(losses: Sequence[tuple[float, int]]) -> float | None:
    if not losses:
        return None
    values, weights = zip(*losses, strict=True)
    return float(np.average(values, weights=weights))
