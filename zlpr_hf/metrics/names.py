"""The names of all metrics, and the direction in which each of them is better."""

DECISION_METRIC_NAMES = (
    "f1_micro", "precision_micro", "recall_micro",
    "f1_macro", "precision_macro", "recall_macro",
    "f1_samples", "precision_samples", "recall_samples",
    "jaccard_samples", "subset_accuracy", "hamming_loss",
    "predicted_cardinality", "empty_predictions",
)  # fmt: skip
LESS_IS_BETTER = (
    "loss", "hamming_loss", "one_error", "ranking_loss", "coverage_error", "brier", "ece",
)  # fmt: skip
NEITHER_IS_BETTER = ("predicted_cardinality", "empty_predictions", "predictions_at_limit")
RANKING_PREFIXES = (
    "lrap", "one_error", "ranking_loss", "coverage_error", "precision_at", "ndcg_at",
    "average_precision",
)  # fmt: skip
"""Prefixes of the metrics that depend on the order of the logits and not on the threshold."""
TOP_K_DEPTHS = (1, 3, 5)
OBJECTIVE = ("f1_micro", "f1_macro", "subset_accuracy")
"""The metrics whose mean the offsets that a run fits by itself maximise."""


def metric_names(num_labels: int, *, k: int = 5) -> tuple[str, ...]:
    """Return the names of :func:`zlpr_hf.compute_multi_label_metrics`."""
    depth = min(k, num_labels)
    return (
        *DECISION_METRIC_NAMES, "one_error", f"precision_at_{depth}", f"ndcg_at_{depth}", "lrap",
        "ranking_loss", "coverage_error", "average_precision_micro", "average_precision_macro",
        "brier", "ece",
    )  # fmt: skip


def top_k_metric_names(k: int = max(TOP_K_DEPTHS)) -> tuple[str, ...]:
    """Return the names of the metrics of the ``k`` best labels, for large label spaces."""
    ranked = [
        f"{name}_at_{depth}"
        for depth in TOP_K_DEPTHS
        if depth <= k
        for name in ("precision", "ndcg")
    ]
    return (*DECISION_METRIC_NAMES, "predictions_at_limit", "one_error", *ranked, "recall_at_k")
