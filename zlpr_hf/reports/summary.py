"""The sentences "In short" at the top of a report, made of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zlpr_hf.reports.report import METRIC_TITLES, Report
from zlpr_hf.reports.verdict import COMPARED, HistoryEntry

MAX_WEAK = 3
MIN_ROWS, MIN_LABELS = 5, 4
"""Mistakes and labels that are needed to say that a label is in most mistakes."""
MIN_SHARE = 0.75


def summarise(report: Report, mistakes: Sequence[set[str]]) -> list[str]:
    """Return up to four sentences: verdict, weak labels, suspicious labels and training.

    Args:
        report: The numbers of the run.
        mistakes: Labels with a wrong decision in each of the rows with the largest loss.
    """
    parts = [
        report.verdict or _numbers(report),
        _weak_labels(report),
        _suspects(report, mistakes),
        render_history(report.history),
    ]
    return [part for part in parts if part]


def _numbers(report: Report) -> str:
    cells = ", ".join(f"{METRIC_TITLES[name]} {report.metrics[name]:.3f}" for name in COMPARED)
    if report.guarantee is not None:
        return f"{report.guarantee.describe()} Now {cells} on {report.tested_on}."
    return f"{cells} on {report.tested_on}; there is no SVM baseline to compare with."


def _weak_labels(report: Report) -> str:
    if not report.weak_labels:
        right = all(each.f1 == 1 for each in report.label_scores if each.support)
        return "Every decision on the labels of the test split is right." if right else ""
    shown = [
        f"{isolate(each.label)} (F1 {each.f1:.2f}: {each.reason})"
        for each in report.weak_labels[:MAX_WEAK]
    ]
    return f"Weakest labels: {'; '.join(shown)}."


def _suspects(report: Report, mistakes: Sequence[set[str]]) -> str:
    counts = Counter(label for labels in mistakes for label in labels)
    if len(mistakes) >= MIN_ROWS and len(report.label_scores) >= MIN_LABELS:
        label, rows = counts.most_common(1)[0]
        if rows >= MIN_SHARE * len(mistakes):
            return (
                f"{isolate(label)} is in {rows} of the {len(mistakes)} texts with the largest "
                "loss: its definition or its tags, not the model, may be the problem."
            )
    suspects = list(dict.fromkeys(each.label for each in report.disagreements))[:MAX_WEAK]
    if not suspects:
        return ""
    return f"Model and tags disagree most on {', '.join(map(isolate, suspects))}."


def render_history(history: Sequence[HistoryEntry]) -> str:
    """Return a sentence about the epoch with the lowest validation loss and the kept one."""
    judged = [(each.validation_loss, each) for each in history if each.validation_loss is not None]
    kept = next((each for each in history if each.kept), None)
    if len(judged) < 2 or kept is None:
        return ""
    _, best = min(judged, key=lambda pair: pair[0])
    last = history[-1]
    if kept.epoch == best.epoch:
        return f"The kept epoch, {kept.epoch:g} of {last.epoch:g}, has the lowest validation loss."
    if kept is last:
        return (
            f"Training went on {kept.epoch - best.epoch:g} epochs after the validation loss was "
            f"lowest (epoch {best.epoch:g}); the last epoch was kept."
        )
    return (
        f"Epoch {kept.epoch:g} of {last.epoch:g} was kept; the validation loss was lowest at epoch "
        f"{best.epoch:g}."
    )


def isolate(label: str) -> str:
    """Return a name between marks that keep its direction of writing from its neighbours."""
    return f"\u2068{label}\u2069"
