"""Classical methods of benchmarks.few_texts, tuned by cross-validation on the sample."""

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from benchmarks.embeddings import embed
from zlpr_hf.metrics.multi_label import compute_decision_metrics

METRICS = ("f1_micro", "f1_macro", "subset_accuracy")
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
WEIGHTS = (None, "balanced")
FOLDS = 5


def measure(decisions: NDArray[np.bool_], targets: NDArray[np.bool_]) -> dict[str, float]:
    """Return the metrics of decisions."""
    found = compute_decision_metrics(decisions, targets.astype(float))
    return {name: found[name] for name in METRICS}


def run_svm(sample: dict[str, Any], data: dict[str, Any], seed: int) -> dict[str, Any]:
    """Fit a linear SVM on TF-IDF."""
    start = time.process_time()
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    train = vectorizer.fit_transform(sample["texts"])
    test = vectorizer.transform(data["test"]["texts"])
    decisions, facts = _fit_best("svm", train, sample["targets"], test, seed)
    scores = {"svm": measure(decisions, data["test"]["targets"])}
    return {"scores": scores, "seconds": time.process_time() - start, "facts": facts}


def run_embeddings(
    sample: dict[str, Any], data: dict[str, Any], seed: int, cache: Path
) -> dict[str, Any]:
    """Fit a logistic regression on the embeddings of the encoder, which is not trained."""
    torch.set_num_threads(1)
    start = time.process_time()
    train = embed(sample["texts"])
    place = cache.with_suffix(".npz")
    spent = 0.0  # by an earlier cell, for the test texts
    if place.exists():
        with np.load(place) as stored:
            test, spent = stored["test"], float(stored["seconds"])
    else:
        before = time.process_time()
        test = embed(data["test"]["texts"])
        np.savez(place, test=test, seconds=time.process_time() - before)
    decisions, facts = _fit_best("logistic", train, sample["targets"], test, seed)
    scores = {"embeddings": measure(decisions, data["test"]["targets"])}
    seconds = time.process_time() - start + spent
    return {"scores": scores, "seconds": seconds, "facts": facts}


def _fit_best(
    kind: str, train: Any, targets: NDArray[np.bool_], test: Any, seed: int
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Return the decisions with the setting that is best out of fold, and this setting."""
    folds = KFold(min(FOLDS, len(targets)), shuffle=True, random_state=seed)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fold may have no text of a label
        for strength in STRENGTHS:
            for weight in WEIGHTS:
                model = OneVsRestClassifier(_build(kind, strength, weight))
                decisions = cross_val_predict(model, train, targets.astype(int), cv=folds) > 0
                scores = measure(decisions, targets)
                value = scores["f1_micro"] + scores["f1_macro"]
                found.append((value, strength, weight, model))
        _, strength, weight, model = max(found, key=lambda each: each[0])
        decisions = model.fit(train, targets.astype(int)).predict(test) > 0
    return decisions, {"C": strength, "class_weight": weight}


def _build(kind: str, strength: float, weight: str | None) -> LinearSVC | LogisticRegression:
    if kind == "svm":
        return LinearSVC(C=strength, class_weight=weight)
    return LogisticRegression(C=strength, class_weight=weight, max_iter=1000)
