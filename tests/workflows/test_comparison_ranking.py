"""Ranks, tallies and corrected p-values of a comparison against independent ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS, Difference
from zlpr_hf.workflows.comparison.plots import draw_ranks
from zlpr_hf.workflows.comparison.ranking import (
    correct_p_values,
    judge_differences,
    rank_methods,
    tally_differences,
)
from zlpr_hf.workflows.comparison.results import Comparison, Row
from zlpr_hf.workflows.comparison.table import render_comparison

VALUES = {"zlpr": [0.9, 0.8, 0.7, 0.6], "bce": [0.8, 0.7, 0.6, 0.5], "focal": [0.7, 0.75, 0.5, 0.4]}


def with_p_value(difference: float, p_value: float) -> Difference:
    half = abs(difference) * norm.ppf(0.975) / norm.isf(p_value / 2)
    return Difference(difference, difference - half, difference + half)


def made(p_value: float = 0.001) -> Comparison:
    rows = []
    for place in range(4):
        for loss, values in VALUES.items():
            gap = values[place] - VALUES["zlpr"][place]
            found = {name: with_p_value(gap, p_value) for name in PAIRED_METRICS}
            metrics = dict.fromkeys(PAIRED_METRICS, values[place])
            rows.append(
                Row(
                    dataset=f"data {place}",
                    loss=loss,
                    rule="own",
                    seeds=(1,),
                    mean=metrics,
                    std=None,
                    difference=None if loss == "zlpr" else found,
                    each=(metrics,),
                )
            )
    names = [f"data {place}" for place in range(4)]
    return Comparison(
        reference="zlpr",
        metrics=("f1_micro",),
        rows=tuple(rows),
        baselines={},
        cost={name: {} for name in names},
        unseen=dict.fromkeys(names, 0.0),
        data={name: {"train": 10, "validation": 5, "test": 5, "labels": 3} for name in names},
        failed={},
        settings={},
        environment={},
    )


def test_holm_by_hand() -> None:
    """The example of Holm's procedure: 4 x 0.005, 3 x 0.01, 2 x 0.03, then no smaller value."""
    found = correct_p_values({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_ranks_by_hand() -> None:
    ranking = rank_methods(made(), "f1_micro", rules=("own",))
    assert ranking is not None
    assert ranking.ranks == {
        ("zlpr", "own"): 1.0, ("bce", "own"): 2.25, ("focal", "own"): 2.75,
    }  # fmt: skip
    # Demšar's table: q = 2.343 for three methods at 5 %.
    assert ranking.critical_difference == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    means = np.array([1.0, 2.25, 2.75])
    chi = 12 * 4 / (3 * 4) * ((means**2).sum() - 3 * 16 / 4)
    assert ranking.p_value == pytest.approx(np.exp(-chi / 2))  # two degrees of freedom


def test_few_datasets_are_not_ranked() -> None:
    comparison = made()
    rows = tuple(row for row in comparison.rows if row.dataset in ("data 0", "data 1"))
    assert rank_methods(replace(comparison, rows=rows), "f1_micro", rules=("own",)) is None


def test_tally_counts_what_the_correction_leaves() -> None:
    clear = tally_differences(made(0.02), "f1_micro")
    assert (clear["bce", "own"].worse, clear["bce", "own"].level) == (4, 0)
    unclear = tally_differences(made(0.03), "f1_micro")  # two of them: 0.06
    assert (unclear["bce", "own"].worse, unclear["bce", "own"].level) == (0, 4)


def test_difference_without_interval_is_unknown() -> None:
    found = judge_differences(
        {"a": Difference(0.1, None, None, "few"), "b": Difference(0.1, 0.05, 0.15)}
    )
    assert found == {"a": "unknown", "b": "better"}


def test_table_and_pictures_have_ranks(tmp_path: Path) -> None:
    table = render_comparison(made(), threshold_metric="f1_micro")
    assert "| bce | own rule | 2.25 | 0 | 0 | 4 | 0 |" in table
    assert [path.name for path in draw_ranks(made(), tmp_path)] == [
        f"ranks-{name}.svg" for name in ("f1_micro", "f1_macro", "subset_accuracy")
    ]
