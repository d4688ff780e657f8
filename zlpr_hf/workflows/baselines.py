"""Two predictors that every fine-tuned model must beat, fitted on the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC
from tqdm.auto import tqdm

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.metrics.multi_label import compute_decision_metrics

Bools = NDArray[np.bool_]


def compute_baselines(data: LabelledData, *, svm: bool = True) -> dict[str, dict[str, float]]:
    """Test metrics of both predictors.

    Args:
        data: All splits.
        svm: Whether to fit the SVM, which takes a minute where there are many texts and labels.

    Returns:
        Predictor to decision metrics; without the SVM where the texts hold no words, or where
        training rows are streamed.
    """
    if isinstance(data, StreamedData):
        return _of_streamed(data)
    targets = {name: data.targets(name) for name in ("train", "test")}
    frequent = predict_most_frequent_set(targets["train"], len(targets["test"]))
    metrics = {"most frequent label set": compute_decision_metrics(frequent, targets["test"])}
    if not svm:
        return metrics
    texts = {name: [" ".join(parts) for parts in data.texts(name)] for name in ("train", "test")}
    machine = predict_tfidf_svm(texts["train"], targets["train"], texts["test"])
    if machine is not None:
        metrics["TF-IDF + linear SVM"] = compute_decision_metrics(machine, targets["test"])
    return metrics


def _of_streamed(data: StreamedData) -> dict[str, dict[str, float]]:
    """The label set is known from counts; an SVM would need all training texts at once."""
    if data.scan.label_sets is None:
        return {}
    ((names, _),) = data.scan.label_sets.most_common(1)
    decisions = np.zeros((len(data.splits["test"]), data.label_space.num_labels), dtype=bool)
    decisions[:, [data.label_space.label2id[name] for name in names]] = True
    metrics = compute_decision_metrics(decisions, data.targets("test"))
    return {"most frequent label set": metrics}


def predict_most_frequent_set(train_targets: NDArray[Any], rows: int) -> Bools:
    """The label set seen most often in training, for every row.

    Args:
        train_targets: Training targets; a label counts as present from 0.5 on.
        rows: Number of rows to predict.

    Shape:
        train_targets: ``(N, L)``. Result: ``(rows, L)``.

    Returns:
        The same decisions in every row.
    """
    sets = Counter(row.tobytes() for row in train_targets >= 0.5)
    best = np.frombuffer(sets.most_common(1)[0][0], dtype=bool)
    return np.tile(best, (rows, 1))


def predict_tfidf_svm(
    train_texts: Sequence[str], train_targets: NDArray[Any], texts: Sequence[str]
) -> Bools | None:
    """TF-IDF of single words and one balanced linear SVM a label.

    The strongest classic for text that needs no tuning; fine-tuned encoders fall behind it on small
    or badly trained runs more often than one would think.

    Args:
        train_texts: Training texts.
        train_targets: Their targets; a label counts as present from 0.5 on.
        texts: Texts to predict.

    Shape:
        train_targets: ``(N, L)``. Result: ``(len(texts), L)``.

    Returns:
        Decisions of scikit-learn's ``LinearSVC(class_weight="balanced")`` on
        ``TfidfVectorizer()``; None where the texts hold no words.
    """
    vectorizer = TfidfVectorizer()
    try:
        train_features = vectorizer.fit_transform(train_texts)
    except ValueError:  # no text has a word of two letters
        return None
    features = vectorizer.transform(texts)
    present = train_targets >= 0.5
    predictions = np.zeros((len(texts), present.shape[1]), dtype=bool)
    for label in tqdm(range(present.shape[1]), desc="SVM baseline", unit="label", leave=False):
        column = present[:, label]
        if column.all() or not column.any():
            predictions[:, label] = column.all()
            continue
        machine = LinearSVC(class_weight="balanced", max_iter=20_000, random_state=0)
        predictions[:, label] = machine.fit(train_features, column).predict(features)
    return predictions
