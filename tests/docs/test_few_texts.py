"""The benchmark of few texts: its samples, its means, and the numbers that are stored."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.few_texts import DATASETS, draw_sample, find_best_threshold, summarize
from benchmarks.output import RESULTS


def test_a_sample_has_enough_texts_of_each_label() -> None:
    targets = np.random.default_rng(0).random((200, 5)) < [0.5, 0.2, 0.1, 0.05, 0.01]
    rows = draw_sample(targets, 8, seed=3)
    assert rows == sorted(set(rows)) == draw_sample(targets, 8, seed=3)
    assert rows != draw_sample(targets, 8, seed=4)
    assert (targets[rows].sum(0) >= np.minimum(8, targets.sum(0))).all()
    assert len(rows) <= 8 * 5
    assert targets[rows].any(1).all()


def test_means_have_intervals_of_student(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    for seed, value in enumerate((0.2, 0.4)):
        scores = dict.fromkeys(("f1_micro", "f1_macro", "subset_accuracy"), value)
        cell = {"dataset": "cwe", "method": "svm", "per_label": 8, "seed": seed, "rows": 40}
        text = json.dumps(cell | {"seconds": 1.0, "scores": {"svm": scores}})
        (folder / f"{seed}.json").write_text(text)
    (mean,) = summarize(tmp_path)["means"]
    assert mean["seeds"] == 2
    assert mean["f1_micro"]["mean"] == pytest.approx(0.3)
    assert mean["f1_micro"]["half_width"] == pytest.approx(12.706 * 0.1, rel=1e-4)  # t, 1 degree


def test_stored_means_are_those_of_the_stored_cells(tmp_path: Path) -> None:
    stored = json.loads((RESULTS / "few_texts.json").read_text(encoding="utf-8"))
    folder = tmp_path / "cells"
    folder.mkdir()
    for number, cell in enumerate(stored["cells"]):
        (folder / f"{number:03}.json").write_text(json.dumps(cell))  # in the stored order
    assert summarize(tmp_path)["means"] == stored["means"]
    assert {cell["dataset"] for cell in stored["cells"]} <= set(DATASETS)
    assert "/" not in json.dumps([cell["scores"] for cell in stored["cells"]])


def test_best_threshold_is_that_of_all_scores() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    scores = {"poor": 1.0 - targets, "good": 0.2 + 0.1 * targets}
    best = find_best_threshold(scores, targets)
    assert best.name == "good"
    assert 0.2 <= best.threshold < 0.3
    assert best.metrics["f1_macro"] == best.metrics["subset_accuracy"] == 1.0
