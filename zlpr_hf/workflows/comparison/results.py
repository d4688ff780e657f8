"""The numbers of a comparison: read from finished runs, summarised, written."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.choices import DECISION_METRICS
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.files.atomic import write_json
from zlpr_hf.labels import LabelSets
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.metrics.paired_bootstrap import Bools, Difference, paired_bootstrap
from zlpr_hf.thresholds import Thresholds
from zlpr_hf.workflows.arguments import render_config
from zlpr_hf.workflows.baselines import compute_baselines
from zlpr_hf.workflows.comparison.cell import Cell
from zlpr_hf.workflows.comparison.plan import Plan
from zlpr_hf.workflows.comparison.search import SearchResults
from zlpr_hf.workflows.comparison.statistics import (
    RULES,
    TUNED_RULES,
    evaluate_rule,
    fit_rules,
    split_into_groups,
)
from zlpr_hf.workflows.output_dir import RESULTS_FILE

COMPARISON_FILE = "comparison.json"
BASELINES_FILE = "baselines.json"
MACHINE = ("system", "processor", "device", "threads")
COST = ("outputs", "seconds_per_step", "peak_memory_mib", "seconds", "steps")


@dataclass(frozen=True)
class Decided:
    """Test logits of a run and the thresholds that turn them into decisions."""

    logits: NDArray[np.float32]
    thresholds: Thresholds

    @property
    def decisions(self) -> Bools:
        """Predicted labels, ``(N, L)``."""
        return self.thresholds.apply(self.logits)


@dataclass(frozen=True)
class Row:
    """A loss with a decision rule on a dataset: metrics per seed and their mean.

    ``difference`` holds the intervals of the difference from the reference; None for the reference
    itself.
    """

    dataset: str
    loss: str
    rule: str
    seeds: tuple[int, ...]
    mean: dict[str, float]
    std: dict[str, float] | None
    difference: dict[str, Difference] | None
    each: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Comparison:
    """All numbers of a comparison.

    ``baselines`` are per dataset without a variant, predictor and metric; ``cost`` holds medians
    over seeds per dataset and loss; ``unseen`` is the fraction of test rows whose label set is not
    in training; ``settings`` are the configurations per run, as ``zlpr train`` reads them. With
    ``resamples_seeds`` the intervals cover other seeds too; those of earlier versions do not.
    ``search`` holds the trials of losses that train the whole model, if they had any.
    """

    reference: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    baselines: dict[str, dict[str, dict[str, float]]]
    cost: dict[str, dict[str, dict[str, float | None]]]
    unseen: dict[str, float]
    data: dict[str, dict[str, Any]]
    failed: dict[str, str]
    settings: dict[str, str]
    environment: dict[str, str]
    frozen: bool = False
    resamples_seeds: bool = False
    search: SearchResults | None = None

    @property
    def datasets(self) -> list[str]:
        """Names in the order of the plan."""
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def rows_of(self, dataset: str) -> list[Row]:
        """Return the rows of a dataset."""
        return [row for row in self.rows if row.dataset == dataset]

    def save(self, folder: Path) -> None:
        """Write ``comparison.json``, whole or not at all."""
        write_json(folder / COMPARISON_FILE, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read a comparison that :meth:`save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for row in content["rows"]:
            if row["difference"]:
                row["difference"] = {
                    name: Difference(**each) for name, each in row["difference"].items()
                }
            rows.append(Row(**row | {"seeds": tuple(row["seeds"]), "each": tuple(row["each"])}))
        content |= {"rows": tuple(rows), "metrics": tuple(content["metrics"])}
        if content.get("search"):
            content["search"] = SearchResults.load(content["search"])
        return cls(**content)


def summarise(
    plan: Plan,
    data: Mapping[Cell, LabelledData],
    failed: Mapping[str, str],
    search: SearchResults | None = None,
) -> Comparison:
    """Compute all statistics from the logits of the finished runs.

    All cells of a dataset share the validation and test rows.
    """
    cells = [cell for cell in plan.cells if str(cell) not in failed]
    rows: list[Row] = []
    cost: dict[str, dict[str, dict[str, float | None]]] = {}
    baselines, unseen, counts = {}, {}, {}
    environment: dict[str, str] = {}
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        here = [cell for cell in cells if cell.dataset == dataset]
        shared = data[here[0]]
        rows += _summarise_dataset(plan, here, shared)
        results = {cell: json.loads((cell.folder / RESULTS_FILE).read_text()) for cell in here}
        cost[dataset] = {
            loss: _medians([results[cell]["training"] for cell in here if cell.loss == loss])
            for loss in dict.fromkeys(cell.loss for cell in here)
        }
        first = results[here[0]]
        environment |= {name: str(first["provenance"][name]) for name in MACHINE}
        environment |= first["versions"]
        if here[0].variant is None:  # they would see the targets as they were
            baselines[dataset] = _fit_baselines(here[0].folder.parents[1], shared)
        unseen[dataset] = _count_unseen(shared) / len(shared.splits["test"])
        counts[dataset] = {name: len(split) for name, split in shared.splits.items()}
        counts[dataset] |= {"labels": shared.label_space.num_labels}
    return Comparison(
        reference=plan.reference,
        metrics=plan.metrics,
        rows=tuple(rows),
        baselines=baselines,
        cost=cost,
        unseen=unseen,
        data=counts,
        failed=dict(failed),
        settings={str(cell): render_config(cell.config) for cell in cells},
        environment=environment,
        frozen=plan.frozen is not None,
        resamples_seeds=True,
        search=search,
    )


def _summarise_dataset(plan: Plan, cells: Sequence[Cell], data: LabelledData) -> list[Row]:
    groups, truth = split_into_groups(data.targets("train")), data.targets("test")
    predictions: dict[tuple[str, str], dict[int, Bools]] = {}
    metrics: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    ranking = not set(plan.metrics) <= set(DECISION_METRICS)
    for cell in cells:
        for name, decided in decide_cell(cell, plan.threshold_metric).items():
            key = cell.loss, name
            predictions.setdefault(key, {})[cell.seed] = decided.decisions
            found = evaluate_rule(
                decided.logits, truth, decided.thresholds, groups, ranking=ranking
            )
            metrics.setdefault(key, {})[cell.seed] = found
    differences = _compare_predictions(plan, predictions, truth)
    losses = dict.fromkeys(cell.loss for cell in cells)
    return [
        _summarise_seeds(cells[0].dataset, loss, rule, metrics[loss, rule], differences)
        for loss in losses
        for rule in RULES
    ]


def decide_cell(cell: Cell, metric: str) -> dict[str, Decided]:
    """Return the decisions of a finished run with each rule, tuned for a metric on validation.

    Tuned rules may have a trial of their own.
    """
    arrays = cell.read_logits()
    targets = arrays["validation_targets"]
    rules = fit_rules(arrays["validation_logits"], targets, metric=metric)
    if not LOSSES[cell.config.training.loss].decides_at_zero:
        rules["own"] = rules["global"]  # the offset that the run fitted too
    logits: dict[str, Any] = dict.fromkeys(rules, arrays["test_logits"])
    if "tuned_validation_logits" in arrays:
        tuned = fit_rules(arrays["tuned_validation_logits"], targets, metric=metric)
        for name in TUNED_RULES:
            rules[name], logits[name] = tuned[name], arrays["tuned_test_logits"]
    return {name: Decided(logits[name], rule) for name, rule in rules.items()}


def _compare_predictions(
    plan: Plan, predictions: Mapping[tuple[str, str], Mapping[int, Bools]], truth: Any
) -> dict[tuple[str, str], dict[str, Difference]]:
    """Bootstrap the differences from the reference, over the seeds that finished for all losses."""
    reference = plan.reference, "own"
    seeds = sorted(set.intersection(*(set(runs) for runs in predictions.values())))
    if not seeds or reference not in predictions:
        return {}
    paired = {key: [runs[seed] for seed in seeds] for key, runs in predictions.items()}
    return paired_bootstrap(paired, truth, reference=reference, resamples=plan.resamples)


def _summarise_seeds(
    dataset: str,
    loss: str,
    rule: str,
    metrics: Mapping[int, dict[str, float]],
    differences: Mapping[tuple[str, str], dict[str, Difference]],
) -> Row:
    runs = tuple(metrics.values())
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    return Row(
        dataset=dataset,
        loss=loss,
        rule=rule,
        seeds=tuple(metrics),
        mean={name: statistics.mean(values) for name, values in columns.items()},
        std={name: statistics.stdev(values) for name, values in columns.items()}
        if len(runs) > 1
        else None,
        difference=differences.get((loss, rule)),
        each=runs,
    )


def _medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    medians: dict[str, float | None] = {}
    for name in COST:
        # The seconds of a resumed run cover its last part only.
        whole = [run for run in runs if name != "seconds" or run.get("resumed_from") is None]
        values = [run[name] for run in whole if run.get(name) is not None]
        medians[name] = statistics.median(values) if values else None
    return medians


def _fit_baselines(folder: Path, data: LabelledData) -> dict[str, dict[str, float]]:
    """Fit the baselines, or read them from the last call: the SVM is slow with many labels."""
    path, rows = folder / BASELINES_FILE, data.fingerprints()
    if path.is_file():
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if stored["rows"] == rows:
            return dict(stored["metrics"])
    metrics = compute_baselines(data)
    write_json(path, {"rows": rows, "metrics": metrics})
    return metrics


def _count_unseen(data: LabelledData) -> int:
    """Return the number of test rows whose known labels fit no label set of training."""
    train, test = data.targets("train"), data.targets("test")
    return LabelSets.collect(train).count_unseen(test)
