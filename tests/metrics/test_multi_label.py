"""Metrics against scikit-learn, on data with ties, empty rows, absent and unknown labels."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from zlpr_hf import MultiLabelMetrics, compute_label_scores, compute_multi_label_metrics


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = np.round(rng.normal(size=(80, 9)), 1)
    targets = (logits + rng.normal(size=logits.shape) > 1).astype(np.float32)
    targets[:, 3] = 0  # a label that is never present
    logits[:, 5] = -1  # one that is never predicted
    targets[:4] = 0
    logits[:2] = -1
    return logits, targets


def test_decision_metrics_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = data
    found = compute_multi_label_metrics(logits, targets)
    decided = logits > 0
    for average in ("micro", "macro", "samples"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            targets, decided, average=average, zero_division=0
        )
        assert found[f"precision_{average}"] == pytest.approx(precision, abs=1e-12)
        assert found[f"recall_{average}"] == pytest.approx(recall, abs=1e-12)
        assert found[f"f1_{average}"] == pytest.approx(f1, abs=1e-12)
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(targets, decided))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(targets, decided))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jaccard = sk.jaccard_score(targets, decided, average="samples")
    assert found["jaccard_samples"] == pytest.approx(jaccard)
    assert found["predicted_cardinality"] == pytest.approx(decided.sum(1).mean())
    assert found["empty_predictions"] == pytest.approx((decided.sum(1) == 0).mean())


def test_ranking_metrics_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = data
    found = compute_multi_label_metrics(logits, targets)
    rows, present = targets.any(1), targets.any(0)
    s, t = logits[rows], targets[rows]
    assert found["lrap"] == pytest.approx(sk.label_ranking_average_precision_score(t, s))
    assert found["ranking_loss"] == pytest.approx(sk.label_ranking_loss(t, s))
    assert found["coverage_error"] == pytest.approx(sk.coverage_error(t, s))
    assert found["ndcg_at_5"] == pytest.approx(sk.ndcg_score(t, s, k=5))
    macro = sk.average_precision_score(targets[:, present], logits[:, present], average="macro")
    assert found["average_precision_macro"] == pytest.approx(macro)
    micro = sk.average_precision_score(targets, logits, average="micro")
    assert found["average_precision_micro"] == pytest.approx(micro)


def test_top_of_the_ranking_by_hand() -> None:
    found = compute_multi_label_metrics([[3.0, 2, 1], [1, 2, 3]], [[1, 0, 1], [1, 0, 0]], k=2)
    assert found["one_error"] == 0.5
    assert found["precision_at_2"] == pytest.approx((1 / 2 + 0) / 2)


def test_calibration_by_hand() -> None:
    found = compute_multi_label_metrics([[0.0, 0.0]], [[1, 0]])
    assert found["brier"] == 0.25
    assert found["ece"] == 0
    soft = np.array([[0.9, 0.2, 0.6]])
    found = compute_multi_label_metrics(np.log(soft / (1 - soft)), soft)
    assert found["brier"] == pytest.approx(0)


def test_unknown_cells_do_not_count(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = data
    wider = np.column_stack([targets, np.full(len(targets), -100.0)])
    wider[::2, -1] = math.nan
    more = np.column_stack([logits, np.full(len(logits), 3.0)])
    known, found = (
        compute_multi_label_metrics(logits, targets),
        compute_multi_label_metrics(more, wider),
    )
    same = [
        "f1_micro",
        "f1_samples",
        "subset_accuracy",
        "hamming_loss",
        "predicted_cardinality",
        "average_precision_micro",
        "average_precision_macro",
        "brier",
        "ece",
    ]
    for name in same:
        assert found[name] == pytest.approx(known[name]), name
    assert "lrap" not in found  # no row is known in full


def test_evaluate_metric_agrees_in_batches(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = data
    metric = MultiLabelMetrics()
    for start in range(0, len(logits), 32):
        metric.add_batch(
            predictions=logits[start : start + 32], references=targets[start : start + 32]
        )
    assert metric.compute() == pytest.approx(
        compute_multi_label_metrics(logits.astype(np.float32), targets)
    )


def test_label_table(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = data
    table = compute_label_scores(logits, targets, [f"l{i}" for i in range(9)])
    columns = sk.precision_recall_fscore_support(targets, logits > 0, zero_division=0)
    for score, precision, recall, f1, support in zip(table, *columns, strict=True):
        assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))
        assert score.support == support
    assert table[3].average_precision is None
    assert table[5].predicted == 0


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"both be \(N, num_labels\), got \(1, 2\) and \(1, 3\)"):
        compute_multi_label_metrics([[1, 2]], [[1, 0, 1]])


@pytest.mark.parametrize("unknown", [-100.0, math.nan])
def test_unjudged_rows_and_labels_count_in_no_metric(
    data: tuple[np.ndarray, np.ndarray], unknown: float
) -> None:
    """As if those rows and labels were not in the arrays."""
    logits, targets = data
    expected = compute_multi_label_metrics(logits, targets)
    wider = np.full((len(targets) + 5, targets.shape[1] + 2), unknown)
    wider[: len(targets), : targets.shape[1]] = targets
    more = np.full(wider.shape, 3.0)
    more[: len(targets), : targets.shape[1]] = logits
    found = compute_multi_label_metrics(more, wider)
    assert set(found) == set(expected) - RANKINGS_OF_WHOLE_ROWS
    for name, value in found.items():
        assert value == pytest.approx(expected[name]), name
    nothing = compute_multi_label_metrics(more, np.full(wider.shape, unknown))
    assert set(nothing.values()) == {0.0}


RANKINGS_OF_WHOLE_ROWS = {
    "one_error", "precision_at_5", "ndcg_at_5", "lrap", "ranking_loss", "coverage_error",
}  # fmt: skip
