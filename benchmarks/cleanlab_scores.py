"""Scores of cleanlab for the logits of benchmarks.audit, in an environment of its own (AGPL).

Run: ENVIRONMENT/bin/python benchmarks/cleanlab_scores.py NAME.npz ...    # NAME.cleanlab.npz
"""

import sys
from pathlib import Path

import numpy as np
from cleanlab.multilabel_classification import get_label_quality_scores
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
from cleanlab.rank import get_label_quality_scores as score_binary

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning")
AGGREGATORS = {
    "ema 0.8": {"method": "exponential_moving_average", "alpha": 0.8},
    "ema 0.5": {"method": "exponential_moving_average", "alpha": 0.5},
    "softmin 0.1": {"method": "softmin", "temperature": 0.1},
}


def score(source: Path) -> None:
    """Write the scores of all cells and rows for the logits of a file."""
    with np.load(source) as stored:
        scores, tagged = stored["scores"].astype(np.float64), stored["tagged"]
    rows = [np.flatnonzero(row).tolist() for row in tagged]
    found = {}
    for method in METHODS:
        for adjust in (False, True) if method != "confidence_weighted_entropy" else (False,):
            name = f"{method}{', adjusted' if adjust else ''}"
            columns = [
                score_binary(
                    given.astype(int),
                    np.column_stack([1 - chance, chance]),
                    method=method,
                    adjust_pred_probs=adjust,
                )
                for given, chance in zip(tagged.T, scores.T, strict=True)
            ]
            found[f"cell|{name}"] = 1 - np.column_stack(columns)
            for title, how in AGGREGATORS.items():
                quality = get_label_quality_scores(
                    rows,
                    scores,
                    method=method,
                    adjust_pred_probs=adjust,
                    aggregator_kwargs=how,
                )
                found[f"row|{name}, {title}"] = 1 - quality
    plain = found["cell|self_confidence"]
    for rule in FILTERS:
        try:
            masks = find_multilabel_issues_per_class(rows, scores, filter_by=rule, n_jobs=1)
        except (ValueError, IndexError):  # a label with too few tags for this rule
            continue
        flagged = np.asarray(masks)
        found[f"cell|flagged by {rule} first"] = plain + flagged
    np.savez(source.with_suffix(".cleanlab.npz"), **found)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        score(Path(name))
