"""Two simple baselines that a fine-tuned model must beat, fitted on the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.svm import LinearSVC
from tqdm.auto import tqdm

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.data.streaming.streamed_data import StreamedData
from zlpr_hf.labels import known_mask
from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.reports.verdict import SVM_ROW

Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

FREQUENT_ROW = "most frequent label set"


def compute_baselines(data: LabelledData, *, svm: bool = True) -> dict[str, dict[str, float]]:
    """Return the test metrics of :func:`predict_baselines`."""
    return score_baselines(predict_baselines(data, svm=svm), data)


def score_baselines(
    predictions: Mapping[str, Bools], data: LabelledData
) -> dict[str, dict[str, float]]:
    """Return the test metrics of decisions per baseline."""
    targets = data.targets("test")
    return {name: compute_decision_metrics(each, targets) for name, each in predictions.items()}


def predict_baselines(data: LabelledData, *, svm: bool = True) -> dict[str, Bools]:
    """Return the decisions of both baselines on the test split, fitted on known targets alone.

    Without a test split, each fold is predicted by baselines that are fitted on the others.

    The most frequent set is missing if no training row is wholly known. The SVM is missing with
    ``svm=False`` (it takes about a minute with many texts and labels), for texts without words, and
    for streamed training rows.
    """
    if isinstance(data, StreamedData):
        return _predict_streamed(data)
    train_rows, test_rows = _find_rows(data)
    targets = data.targets("train")
    texts = {name: [" ".join(parts) for parts in data.texts(name)] for name in ("train", "test")}
    count = len(texts["test"])
    found = {FREQUENT_ROW: np.zeros((count, targets.shape[1]), dtype=bool)}
    found |= {SVM_ROW: found[FREQUENT_ROW].copy()} if svm else {}
    for train, test in zip(train_rows, test_rows, strict=True):
        given = [texts["train"][row] for row in train]
        asked = [texts["test"][row] for row in test]
        predicted = {FREQUENT_ROW: predict_most_frequent_set(targets[train], len(test))}
        if svm:
            predicted[SVM_ROW] = predict_tfidf_svm(given, targets[train], asked)
        for name, decisions in predicted.items():
            if decisions is None:
                found.pop(name, None)
            elif name in found:
                found[name][test] = decisions
    return found


def _find_rows(data: LabelledData) -> tuple[list[Rows], list[Rows]]:
    """Return the training rows of each fit, and the test rows that it predicts.

    There is one fit if the data has a test split, and else one per fold.
    """
    count = len(data.splits["train"])
    if data.split_of("test") == "test":
        return [np.arange(count)], [np.arange(len(data.splits["test"]))]
    folds = np.asarray(data.folds)
    each = range(int(folds.max()) + 1)
    return [np.flatnonzero(folds != k) for k in each], [np.flatnonzero(folds == k) for k in each]


def _predict_streamed(data: StreamedData) -> dict[str, Bools]:
    """Use the counted label sets; an SVM needs all training texts in memory."""
    if not data.scan.label_sets:
        return {}
    ((names, _),) = data.scan.label_sets.most_common(1)
    decisions = np.zeros((len(data.splits["test"]), data.label_space.num_labels), dtype=bool)
    decisions[:, [data.label_space.label2id[name] for name in names]] = True
    return {FREQUENT_ROW: decisions}


def predict_most_frequent_set(train_targets: NDArray[Any], rows: int) -> Bools | None:
    """Return the most frequent label set of the training rows as decisions for ``rows`` rows.

    Labels that are unknown in every row are not predicted; other rows with an unknown label have
    no set. The result is None if no training row has a set.
    """
    known = known_mask(train_targets)
    whole = known[:, known.any(0)].all(1) & known.any()
    sets = Counter(row.tobytes() for row in (known & (train_targets >= 0.5))[whole])
    if not sets:
        return None
    best = np.frombuffer(sets.most_common(1)[0][0], dtype=bool)
    return np.tile(best, (rows, 1))


def predict_tfidf_svm(
    train_texts: Sequence[str], train_targets: NDArray[Any], texts: Sequence[str]
) -> Bools | None:
    """Predict with TF-IDF of single words and one balanced linear SVM per label.

    Weights of words and SVM of a label are fitted on the rows in which it is known. The result is
    None if the training texts have no words.
    """
    vectorizer = CountVectorizer()
    try:
        train_counts = vectorizer.fit_transform(train_texts)
    except ValueError:  # no text has a word of two or more letters
        return None
    counts = vectorizer.transform(texts)
    known = known_mask(train_targets)
    present = known & (train_targets >= 0.5)
    predictions = np.zeros((len(texts), present.shape[1]), dtype=bool)
    weighted_rows: Bools | None = None
    train: Any = None
    test: Any = None
    for label in tqdm(
        range(present.shape[1]), desc="SVM baseline", unit="label", leave=False, disable=None
    ):
        rows = known[:, label]
        column = present[rows, label]
        if column.all() or not column.any():
            predictions[:, label] = column.any()
            continue
        if weighted_rows is None or not np.array_equal(rows, weighted_rows):
            weighted_rows = rows
            train, test = _weigh_words(train_counts[rows], counts)
        if train.shape[1]:
            svm = LinearSVC(class_weight="balanced", max_iter=20_000, random_state=0)
            predictions[:, label] = svm.fit(train, column).predict(test)
    return predictions


def _weigh_words(train_counts: Any, counts: Any) -> tuple[Any, Any]:
    """Return the TF-IDF of the words that training texts have, for these and other texts."""
    words = train_counts.getnnz(axis=0) > 0
    if not words.any():
        return train_counts[:, words], counts[:, words]
    weights = TfidfTransformer().fit(train_counts[:, words])
    return weights.transform(train_counts[:, words]), weights.transform(counts[:, words])
