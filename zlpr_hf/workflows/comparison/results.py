"""The numbers of a comparison: read from finished runs, summarised, written."""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.training.checkpoints import LOGITS_FILE, RESULTS_FILE
from zlpr_hf.workflows.arguments import render_config
from zlpr_hf.workflows.baselines import compute_baselines
from zlpr_hf.workflows.comparison.plan import Cell, Plan
from zlpr_hf.workflows.comparison.statistics import (
    RULES,
    Bools,
    Interval,
    evaluate_rule,
    fit_rules,
    paired_bootstrap,
    split_into_groups,
)

COMPARISON_FILE = "comparison.json"
BASELINES_FILE = "baselines.json"
COST = ("outputs", "seconds_per_step", "peak_memory_mib", "seconds", "steps")


@dataclass(frozen=True)
class Row:
    """A loss under a rule on a data set, over its seeds."""

    dataset: str
    loss: str
    rule: str
    seeds: tuple[int, ...]
    mean: dict[str, float]
    std: dict[str, float] | None
    difference: dict[str, Interval] | None
    each: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Comparison:
    """All numbers of a comparison.

    Args:
        reference: The loss that differences are taken from, under its own rule.
        metrics: Columns of the table.
        rows: A loss, a rule, a data set.
        baselines: Data set to predictor to metrics.
        cost: Data set to loss to medians over seeds.
        unseen: Data set to the share of test rows whose label set training does not have.
        data: Data set to counts.
        failed: Runs that did not come to their end, with the reason.
        settings: Run to its configuration, as ``train.py`` takes it.
        environment: Versions and machine.
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

    @property
    def datasets(self) -> list[str]:
        """Names in the order of the plan."""
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def rows_of(self, dataset: str) -> list[Row]:
        """Rows of a data set."""
        return [row for row in self.rows if row.dataset == dataset]

    def save(self, folder: Path) -> None:
        """Write ``comparison.json``, whole or not at all.

        Args:
            folder: Where to.
        """
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        write_whole(folder / COMPARISON_FILE, text)

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read what :meth:`save` wrote.

        Args:
            path: The JSON file.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(**(row | {
                "seeds": tuple(row["seeds"]),
                "each": tuple(row["each"]),
                "difference": row["difference"] and {
                    name: Interval(**value) for name, value in row["difference"].items()
                },
            }))
            for row in content["rows"]
        ]  # fmt: skip
        return cls(**(content | {"rows": tuple(rows), "metrics": tuple(content["metrics"])}))


def gather(plan: Plan, data: Mapping[Cell, LabelledData], failed: Mapping[str, str]) -> Comparison:
    """Compute all statistics from the logits that the runs left.

    Args:
        plan: The plan; its finished cells are read.
        data: Cell to its rows; the test rows of a data set are the same for all.
        failed: Runs that did not come to their end.

    Returns:
        All numbers.
    """
    cells = [cell for cell in plan.cells if str(cell) not in failed]
    rows: list[Row] = []
    cost: dict[str, dict[str, dict[str, float | None]]] = {}
    baselines, unseen, counts, environment = {}, {}, {}, _environment()
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        here = [cell for cell in cells if cell.dataset == dataset]
        shared = data[here[0]]
        rows += _rows(plan, here, shared)
        results = {cell: json.loads((cell.folder / RESULTS_FILE).read_text()) for cell in here}
        cost[dataset] = {
            loss: _medians([results[c]["training"] for c in here if c.loss == loss])
            for loss in dict.fromkeys(cell.loss for cell in here)
        }
        environment |= next(iter(results.values()))["versions"]
        baselines[dataset] = _yardsticks(here[0].folder.parents[1], shared)
        unseen[dataset] = _unseen(shared)
        counts[dataset] = {name: len(split) for name, split in shared.splits.items()}
        counts[dataset] |= {"labels": shared.label_space.num_labels}
    settings = {str(cell): render_config(cell.config) for cell in cells}
    return Comparison(
        plan.reference, plan.metrics, tuple(rows), baselines, cost, unseen, counts, dict(failed),
        settings, environment,
    )  # fmt: skip


def _rows(plan: Plan, cells: Sequence[Cell], data: LabelledData) -> list[Row]:
    groups = split_into_groups(data.targets("train"))
    decided: dict[tuple[str, str], dict[int, Bools]] = {}
    metrics: dict[tuple[str, str], list[dict[str, float]]] = {}
    seeds: dict[str, list[int]] = {}
    truth = data.targets("test")
    for cell in cells:
        with np.load(cell.folder / LOGITS_FILE) as stored:
            logits, validation = stored["test_logits"], stored["validation_logits"]
        rules = fit_rules(validation, data.targets("validation"), metric=plan.threshold_metric)
        if not LOSSES[cell.config.training.loss].decides_at_zero:
            rules["own"] = rules["global"]  # the offset that the run fitted too
        seeds.setdefault(cell.loss, []).append(cell.seed)
        for name, rule in rules.items():
            decided.setdefault((cell.loss, name), {})[cell.seed] = rule.apply(logits)
            found = evaluate_rule(logits, truth, rule, groups)
            metrics.setdefault((cell.loss, name), []).append(found)
    # Pairs share the seed: only seeds that came to their end for all losses count here.
    paired = sorted(set.intersection(*(set(runs) for runs in decided.values())))
    names = {f"{a} / {b}": [runs[seed] for seed in paired] for (a, b), runs in decided.items()}
    differences: dict[str, dict[str, Interval]] = {}
    if paired and f"{plan.reference} / own" in names:
        differences = paired_bootstrap(
            names, truth, reference=f"{plan.reference} / own", resamples=plan.resamples
        )
    dataset = cells[0].dataset
    return [
        Row(
            dataset, loss, rule, tuple(seeds[loss]),
            {name: statistics.mean(run[name] for run in runs) for name in runs[0]},
            {name: statistics.stdev(run[name] for run in runs) for name in runs[0]}
            if len(runs) > 1 else None,
            differences.get(f"{loss} / {rule}"),
            tuple(runs),
        )
        for loss in seeds for rule in RULES for runs in [metrics[loss, rule]]
    ]  # fmt: skip


def _medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    medians: dict[str, float | None] = {}
    for name in COST:
        # The seconds of a run that went on are those of its last part alone.
        whole = [run for run in runs if name != "seconds" or run.get("resumed_from") is None]
        values = [run[name] for run in whole if run.get(name) is not None]
        medians[name] = statistics.median(values) if values else None
    return medians


def _yardsticks(folder: Path, data: LabelledData) -> dict[str, dict[str, float]]:
    """Fitted once for the same rows and kept, since the SVM takes a while on many labels."""
    path = folder / BASELINES_FILE
    content = hashlib.sha256()
    for split in ("train", "test"):
        content.update(json.dumps(data.texts(split)).encode())
        content.update(data.targets(split).tobytes())
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.get("rows") == content.hexdigest():
            kept: dict[str, dict[str, float]] = stored["metrics"]
            return kept
    metrics = compute_baselines(data)
    text = json.dumps({"rows": content.hexdigest(), "metrics": metrics}, indent=1)
    write_whole(path, text + "\n")
    return metrics


def _unseen(data: LabelledData) -> float:
    train = {row.tobytes() for row in data.targets("train") >= 0.5}
    test = data.targets("test") >= 0.5
    return sum(row.tobytes() not in train for row in test) / len(test)


def _environment() -> dict[str, str]:
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} threads of a processor ({platform.machine()})"
    )
    return {"device": device, "system": platform.system()}
