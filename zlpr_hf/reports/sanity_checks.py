"""Sanity checks: suspect numbers of a model, each with a remedy."""

from __future__ import annotations

from collections.abc import Mapping

from zlpr_hf.data.profile import DataProfile

MAX_NAMES = 5


def check_run(profile: DataProfile, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return one warning per suspect number of a run, whose metrics are given per split."""
    train = profile.splits["train"]
    total = len(train.label_counts)
    untrained = [label for label, count in train.judged_counts.items() if not count]
    found: list[str] = []
    if untrained:
        found.append(
            f"train: no row has {_some(untrained, total)}; the model can only learn never to "
            "predict them. Add rows, or remove these labels"
        )
    if train.unjudged_labels:
        found.append(
            f"train: no row knows {_some(list(train.unjudged_labels), total)}; the model learns "
            "nothing about them. Add rows that do, or remove these labels"
        )
    for name, values in metrics.items():
        if name not in profile.splits:  # rows of the training split, each judged out of its fold
            continue
        split = profile.splits[name]
        cells = split.rows * len(split.label_counts) - split.unknown_cells
        judged = split.rows - split.unjudged_rows
        found += check_split(name, values, split.judged_counts, rows=judged, cells=cells)
    return found


def check_split(
    name: str,
    metrics: Mapping[str, float],
    counts: Mapping[str, int],
    *,
    rows: int,
    cells: int,
) -> list[str]:
    """Return one warning per suspect number of a split.

    ``counts`` are rows per label, without labels that no row knows; ``rows`` are those with a known
    label; ``cells`` are the known labels of all rows. In a large label space the metrics are those
    of the best labels.
    """
    if not cells:
        return [f"{name}: no label of any row is known, so there is nothing to measure"]
    found: list[str] = []
    predicted = round(metrics["predicted_cardinality"] * rows)
    wrong = metrics["hamming_loss"] > 0  # otherwise it is right to predict none or all labels
    if wrong and predicted == 0:
        found.append(
            f"{name}: the model predicts no label for any text, so precision, recall and F1 are 0. "
            "Train longer or with a higher learning_rate, or set tune_thresholds global"
        )
    elif wrong and predicted == cells:
        found.append(
            f"{name}: the model predicts every label for every text. Train longer or with a lower "
            "learning_rate, and check the labels that were read (label_form)"
        )
    elif metrics.get("predictions_at_limit") == 1:
        found.append(
            f"{name}: the model predicts all evaluated labels for every text. Train longer, or set "
            "tune_thresholds global"
        )
    missing = [label for label, count in counts.items() if not count]
    if missing:
        best = 1 - len(missing) / len(counts)
        found.append(
            f"{name}: no row has {_some(missing, len(counts))}. Each counts as 0 in macro "
            f"precision, recall and F1, whose maximum is therefore {best:.3f}; macro average "
            "precision omits them. Use a larger split, or compare by F1 micro"
        )
    return found


def _some(labels: list[str], total: int) -> str:
    more = ", ..." if len(labels) > MAX_NAMES else ""
    return f"{len(labels)} of {total} labels ({', '.join(labels[:MAX_NAMES])}{more})"
