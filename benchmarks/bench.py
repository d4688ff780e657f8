"""The loss bench: keep its cells, recompute its tables from them, and run cells again.

The cells are made by zlpr compare from the plans in results/bench, in a folder in which data/ holds
the datasets in their original form. ``--collect`` copies what the tables need from the output
folder of a plan; ``--check`` recomputes every table from these copies; ``--rerun`` trains random
cells of the frozen tier again, in a temporary folder, and compares their decisions.

Run: python -m benchmarks.bench --check
     python -m benchmarks.bench --collect frozen out/bench --collect variants out/bench_variants
     python -m benchmarks.bench --rerun 3
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from zlpr_hf.metrics.multi_label import compute_decision_metrics
from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS, Difference, paired_bootstrap
from zlpr_hf.workflows.comparison.cell import Cell
from zlpr_hf.workflows.comparison.frozen import read_features, run_frozen_cell
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.plots import draw_ranks
from zlpr_hf.workflows.comparison.results import Comparison, decide_cell
from zlpr_hf.workflows.comparison.statistics import GROUPS
from zlpr_hf.workflows.comparison.table import TABLE_FILE, render_comparison
from zlpr_hf.workflows.load_data import load_data

BENCH = Path(__file__).parents[1] / "results" / "bench"
PLANS = ("frozen", "variants", "finetuned")
WITH_CELLS = ("frozen", "finetuned")
"""Plans whose decisions are kept; variants share the test rows of their dataset."""
RULES = ("own", "global")
CELLS_FILE = "decisions.npz"
TOLERANCE = 1e-9


def load(name: str) -> Comparison:
    """Return the stored comparison of a plan."""
    return Comparison.load(BENCH / name / "comparison.json")


def decide(cell: Cell, metric: str) -> dict[str, Any]:
    """Return the decisions of a finished cell on the test rows, per rule."""
    found = decide_cell(cell, metric)
    return {rule: found[rule].decisions for rule in RULES}


def collect(name: str, folder: Path) -> None:
    """Copy the comparison, table and pictures of a plan, and its decisions if they are kept."""
    target = BENCH / name
    target.mkdir(exist_ok=True)
    comparison = _without_rest(Comparison.load(folder / "comparison.json"))
    text = json.dumps(asdict(comparison), ensure_ascii=False, separators=(",", ":"))
    (target / "comparison.json").write_text(text + "\n", encoding="utf-8")
    table = render_comparison(comparison, threshold_metric="f1_micro")
    (target / TABLE_FILE).write_text(table, encoding="utf-8")
    if name == "frozen":
        draw_ranks(comparison, target)
    if name in WITH_CELLS:
        plan = read_plan(BENCH / f"{name}.yaml", output_dir=str(folder))
        search = comparison.search
        cells = [cell for cell in plan.cells if search is None or search.is_best(cell)]
        arrays = _pack(cells, plan.threshold_metric)
        np.savez_compressed(target / CELLS_FILE, **arrays)  # type: ignore[arg-type]


def _without_rest(comparison: Comparison) -> Comparison:
    """Leave out the settings of each run, which the plan has, and metrics that no table shows."""
    shown = {*comparison.metrics, *PAIRED_METRICS, *(f"f1_macro_{group}" for group in GROUPS)}

    def choose(values: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in values.items() if name in shown}

    rows = tuple(
        replace(
            row,
            mean=choose(row.mean),
            std=None if row.std is None else choose(row.std),
            each=tuple(map(choose, row.each)),
        )
        for row in comparison.rows
    )
    return replace(comparison, rows=rows, settings={})


def _pack(cells: list[Cell], metric: str) -> dict[str, Any]:
    """Return test targets and decisions as bits, by dataset.

    The bits of all cells of a dataset lie side by side, ``(N * L, cells)``, since most agree.
    """
    arrays: dict[str, Any] = {}
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        columns, names = [], []
        for cell in (each for each in cells if each.dataset == dataset):
            for rule, decisions in decide(cell, metric).items():
                columns.append(decisions.ravel())
                names.append(_key(cell.loss, cell.seed, rule))
        with np.load(cell.folder / "logits.npz") as stored:
            targets = stored["test_targets"]
        arrays |= {
            f"{dataset}|names": np.array(names),
            f"{dataset}|cells": np.packbits(np.stack(columns, axis=1), axis=1),
            f"{dataset}|targets": np.packbits(targets >= 0.5),
            f"{dataset}|shape": np.array(targets.shape),
        }
    return arrays


def _key(loss: str, seed: int, rule: str) -> str:
    return f"{loss}|{seed}|{rule}"


def _unpack(arrays: Any, dataset: str) -> tuple[Any, dict[str, Any]]:
    """Return the test targets of a dataset, and the decisions of its cells by their key."""
    shape, names = tuple(arrays[f"{dataset}|shape"]), arrays[f"{dataset}|names"]
    truth = np.unpackbits(arrays[f"{dataset}|targets"], count=int(np.prod(shape))).reshape(shape)
    cells = np.unpackbits(arrays[f"{dataset}|cells"], axis=1, count=len(names)).astype(bool)
    decided = {str(name): cells[:, place].reshape(shape) for place, name in enumerate(names)}
    return truth.astype(np.float32), decided


def check() -> list[str]:
    """Return the differences between the stored tables and those recomputed from the cells."""
    found: list[str] = []
    for name in PLANS:
        comparison = load(name)
        table = render_comparison(comparison, threshold_metric="f1_micro")
        if table != (BENCH / name / TABLE_FILE).read_text(encoding="utf-8"):
            found.append(f"{name}: {TABLE_FILE} differs")
        for row in comparison.rows:
            for metric, mean in row.mean.items():
                if abs(np.mean([each[metric] for each in row.each]) - mean) > TOLERANCE:
                    found.append(f"{name}: {row.dataset}, {row.loss}, {row.rule}: mean of {metric}")
    for name in WITH_CELLS:
        comparison, resamples = load(name), read_plan(BENCH / f"{name}.yaml").resamples
        with np.load(BENCH / name / CELLS_FILE) as arrays:
            for dataset in comparison.datasets:
                found += _check_dataset(comparison, dataset, arrays, resamples)
    return found


def _check_dataset(
    comparison: Comparison, dataset: str, arrays: Any, resamples: int
) -> Iterator[str]:
    truth, cells = _unpack(arrays, dataset)
    decided: dict[tuple[str, str], list[Any]] = {}
    rows = {(row.loss, row.rule): row for row in comparison.rows_of(dataset) if row.rule in RULES}
    for (loss, rule), row in rows.items():
        for seed, stored in zip(row.seeds, row.each, strict=True):
            decisions = cells[_key(loss, seed, rule)]
            decided.setdefault((loss, rule), []).append(decisions)
            metrics = compute_decision_metrics(decisions, truth)
            for metric in PAIRED_METRICS:
                if abs(metrics[metric] - stored[metric]) > TOLERANCE:
                    yield f"{dataset}, {loss}, {rule}, seed {seed}: {metric}"
    again = paired_bootstrap(
        decided,
        truth,
        reference=(comparison.reference, "own"),
        resamples=resamples,
    )
    for key, differences in again.items():
        for metric, difference in differences.items():
            if not _alike(difference, (rows[key].difference or {})[metric]):
                yield f"{dataset}, {key}: interval of {metric}"


def _alike(one: Difference, other: Difference) -> bool:
    if (one.ends is None) != (other.ends is None):
        return False
    pairs = zip((one.difference, *(one.ends or ())), (other.difference, *(other.ends or ())),
                strict=True)  # fmt: skip
    return all(abs(a - b) < 1e-6 for a, b in pairs)


def rerun(count: int, seed: int) -> list[str]:
    """Train random cells of the frozen tier again; return those that differ."""
    plan = read_plan(BENCH / "frozen.yaml")
    assert plan.frozen is not None
    chosen = np.random.default_rng(seed).choice(len(plan.cells), count, replace=False)
    different = []
    with tempfile.TemporaryDirectory() as folder, np.load(BENCH / "frozen" / CELLS_FILE) as arrays:
        for index in chosen:
            cell = plan.cells[index]
            training = replace(cell.config.training, output_dir=str(Path(folder) / str(index)))
            cell = replace(cell, config=replace(cell.config, training=training))
            data = load_data(cell.config.data)
            run_frozen_cell(cell, data, read_features(cell.config, data, Path(folder)), plan.frozen)
            _, stored = _unpack(arrays, cell.dataset)
            counts = {
                rule: int((decisions != stored[_key(cell.loss, cell.seed, rule)]).sum())
                for rule, decisions in decide(cell, plan.threshold_metric).items()
            }
            print(f"{cell}: cells that differ: {json.dumps(counts)}", flush=True)
            if any(counts.values()):
                different.append(str(cell))
    return different


def main() -> None:
    """Collect, check or rerun."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--collect", nargs=2, action="append", default=[], metavar=("PLAN", "FOLDER")
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rerun", type=int, default=0, metavar="CELLS")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the cells to rerun")
    options = parser.parse_args()
    if unknown := {name for name, _ in options.collect} - set(PLANS):
        parser.error(f"no plan {', '.join(sorted(unknown))}; there are {', '.join(PLANS)}")
    for name, folder in options.collect:
        collect(name, Path(folder))
    different = check() if options.check else []
    different += rerun(options.rerun, options.seed) if options.rerun else []
    if different:
        raise SystemExit("differ: " + "; ".join(different))
    if options.check or options.rerun:
        print("all tables and cells agree")


if __name__ == "__main__":
    main()
