"""Findings: what is suspect about a model's numbers, each with its remedy."""

from __future__ import annotations

from collections.abc import Mapping

from zlpr_hf.data.profile import DataProfile

MAX_NAMES = 5


def check_run(profile: DataProfile, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is suspect about a run.

    Args:
        profile: The data.
        metrics: Split to the metrics of the trained model.

    Returns:
        A line each; none where all is well.
    """
    counts = profile.splits["train"].label_counts
    untrained = [label for label, count in counts.items() if not count]
    found: list[str] = []
    if untrained:
        found.append(
            f"train: no row has {_some(untrained, len(counts))}: nothing can be learned about them "
            "but never to predict them; add rows, or leave them out of the labels"
        )
    for name, values in metrics.items():
        split = profile.splits[name]
        cells = split.rows * len(split.label_counts) - split.unknown_cells
        found += check_split(name, values, split.label_counts, rows=split.rows, cells=cells)
    return found


def check_split(
    name: str,
    metrics: Mapping[str, float],
    counts: Mapping[str, int],
    *,
    rows: int,
    cells: int,
) -> list[str]:
    """What is suspect about the numbers of one split.

    Args:
        name: What to call it.
        metrics: The model's, of :func:`zlpr_hf.compute_multi_label_metrics` or of the best
            labels of a large label space.
        counts: Rows with each label.
        rows: How many there are.
        cells: How many labels of rows are known.

    Returns:
        A line each; none where all is well.
    """
    found: list[str] = []
    predicted = round(metrics["predicted_cardinality"] * rows)
    wrong = metrics["hamming_loss"] > 0  # else nothing, or everything, is what is true
    if wrong and predicted == 0:
        found.append(
            f"{name}: the model predicts no label for any text, so precision, recall and F1 are 0; "
            "train longer or with a higher learning_rate, or set tune_thresholds global"
        )
    elif wrong and predicted == cells:
        found.append(
            f"{name}: the model predicts every label for every text; train longer or with a lower "
            "learning_rate, and look at the labels that were read (label_form)"
        )
    elif metrics.get("predictions_at_limit") == 1:
        found.append(
            f"{name}: of every text all the best labels that are looked at are predicted; train "
            "longer, or set tune_thresholds global"
        )
    missing = [label for label, count in counts.items() if not count]
    if missing:
        best = 1 - len(missing) / len(counts)
        found.append(
            f"{name}: no row has {_some(missing, len(counts))}: each counts as 0 in the macro "
            f"averages of precision, recall and F1, of which the best possible is {best:.3f}, and "
            "not at all in average precision; take a larger split, or compare by F1 micro"
        )
    return found


def _some(labels: list[str], total: int) -> str:
    more = ", ..." if len(labels) > MAX_NAMES else ""
    return f"{len(labels)} of {total} labels ({', '.join(labels[:MAX_NAMES])}{more})"
