"""Coverage of the 95 % intervals: how often they hold the true value of a simulated population.

Labels, recall and false alarms have known probabilities, so the true value of each metric follows
in closed form. Half of the rows are harder than the other half, so that errors come together. A
second predictor takes most decisions from the first one, as two losses on one encoder do.

Run: python -m benchmarks.coverage   # about 20 minutes on one core
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from benchmarks.output import markdown_table, save
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.paired_bootstrap import paired_bootstrap

REPOSITORY = Path(__file__).parents[1]
DRAWS, RESAMPLES = 1000, 500
"""Test splits per population, and resamples per interval."""
SPREAD = 0.5
"""Distance of the easy and the hard rows from the mean, relative to the room that there is."""
SHARED = 0.8
"""Share of the decisions that the second predictor takes from the first one."""
METRICS = {"f1_micro": "micro-F1", "f1_macro": "macro-F1", "subset_accuracy": "exact match"}

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Predictor:
    """Probabilities of a decision per label: where the label is true, and where it is not."""

    recall: Floats
    false_alarm: Floats

    def halves(self) -> Iterator["Predictor"]:
        """Yield the probabilities in easy and in hard rows."""
        for sign in (1, -1):
            yield Predictor(
                self.recall + sign * SPREAD * np.minimum(self.recall, 1 - self.recall),
                self.false_alarm * (1 - sign * SPREAD),
            )

    def mix(self, other: "Predictor") -> "Predictor":
        """Return a predictor that takes ``SHARED`` of its decisions from the other one."""
        return Predictor(
            SHARED * other.recall + (1 - SHARED) * self.recall,
            SHARED * other.false_alarm + (1 - SHARED) * self.false_alarm,
        )


def true_metrics(frequencies: Floats, predictor: Predictor) -> dict[str, float]:
    """Return the metrics of infinitely many rows."""
    hits = frequencies * predictor.recall
    sums = hits + (1 - frequencies) * predictor.false_alarm + frequencies
    right = [
        np.prod(frequencies * half.recall + (1 - frequencies) * (1 - half.false_alarm))
        for half in predictor.halves()
    ]
    return {
        "f1_micro": float(2 * hits.sum() / sums.sum()),
        "f1_macro": float((2 * hits / sums).mean()),
        "subset_accuracy": float(np.mean(right)),
    }


def draw(
    generator: np.random.Generator, rows: int, frequencies: Floats, *predictors: Predictor
) -> tuple[Bools, list[Bools]]:
    """Return the targets of a test split and the decisions of each predictor.

    Predictors after the first share its decisions.
    """
    targets = generator.random((rows, len(frequencies))) < frequencies
    hard = generator.random((rows, 1)) < 0.5
    decisions: list[Bools] = []
    for predictor in predictors:
        easy_half, hard_half = (
            np.where(targets, half.recall, half.false_alarm) for half in predictor.halves()
        )
        own = generator.random(targets.shape) < np.where(hard, hard_half, easy_half)
        shared = generator.random(targets.shape) < SHARED if decisions else np.zeros(1, bool)
        decisions.append(np.where(shared, decisions[0], own) if decisions else own)
    return targets, decisions


def simulate(rows: int, frequencies: Floats, first: Predictor, second: Predictor) -> dict[str, Any]:
    """Return how often intervals are given, and how often given ones hold the true value."""
    generator = np.random.default_rng(0)
    value, other = (true_metrics(frequencies, each) for each in (first, second.mix(first)))
    single, difference = (
        {name: {"true": true[name], "given": 0, "held": 0} for name in METRICS}
        for true in (value, {name: other[name] - value[name] for name in METRICS})
    )
    for seed in tqdm(range(DRAWS), leave=False):
        targets, (one, two) = draw(generator, rows, frequencies, first, second)
        found = compute_intervals(one - 0.5, targets, resamples=RESAMPLES, seed=seed)
        paired = paired_bootstrap(
            {"one": [one], "two": [two]}, targets, reference="one", resamples=RESAMPLES, seed=seed
        )["two"]
        for name in METRICS:
            if name in found:
                _count(single[name], found[name].low, found[name].high)
            if paired[name].ends is not None:
                _count(difference[name], *paired[name].ends)
    return {"rows": rows, "labels": len(frequencies), "single": single, "difference": difference}


def _count(entry: dict[str, float], low: float, high: float) -> None:
    entry["given"] += 1
    entry["held"] += low <= entry["true"] <= high


def uniform(rows: int, support: Floats, recall: float, precision: float) -> dict[str, Any]:
    """Simulate labels of equal quality, with an expected number of rows each."""
    frequencies = support / rows

    def predictor(recall: float, precision: float) -> Predictor:
        odds = frequencies / (1 - frequencies) * (1 - precision) / precision
        return Predictor(np.full(len(support), recall), recall * odds)

    return simulate(
        rows, frequencies, predictor(recall, precision), predictor(0.8 * recall, precision)
    )


def reuters(rows: int) -> dict[str, Any]:
    """Simulate the frequencies, hits and false alarms of the stored run on Reuters."""
    run = json.loads((REPOSITORY / "results" / "reuters.json").read_text(encoding="utf-8"))
    total = run["profile"]["splits"]["test"]["rows"]
    support, recall, predicted = (
        np.array([each[name] for each in run["label_scores"]], float)
        for name in ("support", "recall", "predicted")
    )
    hits = recall * support
    smoothed = (hits + 0.5) / (support + 1)  # a label with one row is neither hopeless nor solved
    first = Predictor(smoothed, (predicted - hits) / (total - support))
    second = Predictor(smoothed * 0.9, first.false_alarm * 0.8)
    return simulate(rows, support / total, first, second)


FEW, MORE = np.tile(np.arange(1.0, 11), 2), np.linspace(20, 100, 20)
POPULATIONS = {
    "frequencies of Reuters": [partial(reuters, rows) for rows in (1000, 3019)],
    "20 labels with 1 to 10 rows": [
        partial(uniform, rows, FEW, *quality)
        for rows in (110, 1000)
        for quality in ((0.5, 0.6), (0.8, 0.9))
    ],
    "20 labels with 20 to 100 rows": [
        partial(uniform, 1000, MORE, *quality) for quality in ((0.5, 0.6), (0.8, 0.9))
    ],
}


def render(found: dict[str, list[dict[str, Any]]], draws: int) -> str:
    """Return a table: the share of draws with an interval, and the coverage of those."""
    rows = []
    for name, settings in found.items():
        for setting in settings:
            for kind, title in (("single", "metric"), ("difference", "paired difference")):
                cells = [_cell(setting[kind][metric], draws) for metric in METRICS]
                true = f"{setting['single']['f1_micro']['true']:.2f}"
                rows.append([name, f"{setting['rows']:,}", true, title, *cells])
    columns = ["population", "test rows", "true micro-F1", "interval of the", *METRICS.values()]
    return markdown_table(columns, rows, texts=4)


def _cell(entry: dict[str, float], draws: int) -> str:
    given = entry["given"] / draws
    if given < 0.005:
        return "not given"
    coverage = f"{entry['held'] / entry['given']:.1%}"
    return coverage if given > 0.995 else f"{coverage}, given in {given:.0%}"


def main() -> None:
    found = {name: [run() for run in runs] for name, runs in POPULATIONS.items()}
    save("coverage", {"draws": DRAWS, "resamples": RESAMPLES, "populations": found})
    print(render(found, DRAWS))


if __name__ == "__main__":
    main()
