"""The benchmarks: the mathematics of the made data, and that files and tables are theirs."""

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import coverage, gpu
from benchmarks.cost import kept_bytes
from benchmarks.exact import WORLDS, boundary, exclusive, minimise
from benchmarks.learned import DRAWS, SIZES, counted, dependent, single
from benchmarks.output import RESULTS
from zlpr_hf import compute_decision_metrics

MADE = Path(__file__).parents[2] / "results" / "made_data"


def test_two_exclusive_labels_are_a_coin() -> None:
    assert boundary(WORLDS["exclusive"], 1) == pytest.approx(0.5, abs=1e-4)


def test_minimum_is_where_all_derivatives_vanish() -> None:
    """One label per text, A with 0.3 beside ten: the conditions written out by hand."""
    p, m = 0.3, 10
    a, b = minimise(exclusive(p, m), m).tolist()
    for_a = -p / (1 + math.exp(a)) + (1 - p) * math.exp(a) / (
        1 + math.exp(a) + (m - 1) * math.exp(b)
    )
    assert for_a == pytest.approx(0, abs=1e-8)
    down = p / (1 + m * math.exp(b)) + (1 - p) * (m - 1) / m / (
        1 + math.exp(a) + (m - 1) * math.exp(b)
    )
    for_others = m * math.exp(b) * down - (1 - p) / (1 + math.exp(b))
    assert for_others == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("world", ["exclusive", "independent"])
def test_written_boundaries_are_computed_ones(world: str) -> None:
    stored = json.loads((MADE / "exact.json").read_text())[world]
    index = stored["others"].index(5)
    assert stored["zlpr"][index] == pytest.approx(boundary(WORLDS[world], 5), abs=1e-4)


def test_made_data_is_what_it_says() -> None:
    marginals = [dependent(rho, 0)[1].mean(0) for rho in (0.0, 0.99)]
    torch.testing.assert_close(*marginals, atol=0.03, rtol=0)
    together = [torch.corrcoef(dependent(rho, 0)[1].T).sum() for rho in (0.0, 0.99)]
    assert together[1] > together[0] + 3
    assert set(counted(3, 3, 0)[1].sum(1).tolist()) == {3.0}
    assert set(counted(0, 6, 0)[1].sum(1).tolist()) == set(map(float, range(7)))
    assert (single(100, 0)[1].sum(1) == 1).all()


def test_written_results_are_of_this_script() -> None:
    stored = json.loads((MADE / "learned.json").read_text())
    assert (stored["draws"], stored["rows"]) == (len(DRAWS), list(SIZES))
    for cases in stored["results"].values():
        for metrics in (m for row in cases.values() for m in row.values()):
            assert len(metrics["f1_micro"]) == len(DRAWS)
            counts = [value * SIZES[2] for value in metrics["subset_accuracy"]]
            assert counts == pytest.approx([round(count) for count in counts], abs=1e-6)


def numbers(value: Any) -> set[str]:
    """All numbers of a JSON value, and the mean of a list of them, with three decimals."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, list):
        numeric = [x for x in value if isinstance(x, (int, float))]
        mean = {f"{statistics.mean(numeric):.3f}"} if numeric else set()
        return mean.union(*map(numbers, value))
    return {f"{value:.3f}"} if isinstance(value, (int, float)) else set()


def test_the_page_quotes_the_files() -> None:
    page = (MADE.parents[1] / "docs" / "label_dependence.md").read_text()
    quoted = set(re.findall(r"\b[01]\.\d{3}\b", page))
    files = [json.loads((MADE / f"{n}.json").read_text()) for n in ("exact", "learned", "cost")]
    assert len(quoted) > 20
    assert quoted <= set().union(*map(numbers, files))


def test_kept_bytes_counts_a_tensor_once() -> None:
    values = torch.ones(1000, requires_grad=True)
    assert kept_bytes(lambda: (values * values).sum()) == 4000


def test_outcomes_of_gpu_tests_are_read_with_their_values(tmp_path: Path) -> None:
    cases = """<testcase classname="a" name="x" time="2.5"><properties>
    <property name="peak_mib" value="7.5"/></properties></testcase>
    <testcase classname="a" name="y" time="0"><skipped message="requires CUDA"/></testcase>
    <testcase classname="b" name="z" time="1"><failure message="wrong"/></testcase>"""
    (tmp_path / "tests.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert gpu.read_outcomes(tmp_path / "tests.xml") == {
        "a.x": {"outcome": "passed", "seconds": 2.5, "peak_mib": 7.5},
        "a.y": {"outcome": "skipped", "seconds": 0, "message": "requires CUDA"},
        "b.z": {"outcome": "failure", "seconds": 1, "message": "wrong"},
    }


def test_true_metrics_of_a_population_are_those_of_many_rows() -> None:
    frequencies = np.array([0.4, 0.1, 0.03])
    first = coverage.Predictor(np.array([0.8, 0.5, 0.9]), np.array([0.1, 0.02, 0.01]))
    second = coverage.Predictor(np.array([0.2, 0.9, 0.1]), np.array([0.2, 0.2, 0.0]))
    targets, decisions = coverage.draw(
        np.random.default_rng(0), 300_000, frequencies, first, second
    )
    for predictor, decided in zip((first, second.mix(first)), decisions, strict=True):
        found = compute_decision_metrics(decided, targets)
        for name, value in coverage.true_metrics(frequencies, predictor).items():
            assert found[name] == pytest.approx(value, abs=5e-3), name


def test_stored_intervals_hold_the_true_value() -> None:
    """At least 92 %, wherever an interval is given in more than a handful of the draws."""
    stored = json.loads((RESULTS / "coverage.json").read_text())
    assert stored["draws"] == coverage.DRAWS
    assert set(stored["populations"]) == set(coverage.POPULATIONS)
    settings = [each for some in stored["populations"].values() for each in some]
    entries = [
        each for s in settings for kind in ("single", "difference") for each in s[kind].values()
    ]
    assert min(each["held"] / each["given"] for each in entries if each["given"] > 50) >= 0.92
