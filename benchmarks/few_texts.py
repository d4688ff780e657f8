"""Compare methods on a few texts per label: quality and seconds on four datasets.

The sample of a seed has ``--per_label`` random texts of each label (all texts of a label with
fewer); a text that is drawn for two labels is there once. Everything is tested on the whole test
split. A cell is one dataset, method, number of texts and seed; finished cells are files in
``--output`` and are not run again, and the results hold all of them. Seconds are processor time
from reading the sample to deciding on the test texts, so that other work on the machine does not
count.

FOLDER holds the datasets as for benchmarks.defaults. SetFit runs with the Python of an environment
of its own (pip install "setfit==1.2.*" "transformers<5"); without --setfit_python it is left out.

Run: OMP_NUM_THREADS=1 python -m benchmarks.few_texts FOLDER --setfit_python PYTHON
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t

from benchmarks import defaults
from benchmarks.few_baselines import METRICS, measure, run_embeddings, run_svm
from benchmarks.output import save
from zlpr_hf.cli.own_file import complete_options
from zlpr_hf.cli.train_options import DEFAULT_MODEL
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.output_dir import LOGITS_FILE, RESULTS_FILE

DATASETS = ("cooking", "cwe", "go_emotions", "reuters")
METHODS = ("zlpr", "svm", "embeddings", "setfit")
NUM_ITERATIONS = 20
"""Pairs of texts per text and sign, as in the paper of SetFit; all pairs take hours."""
SHORTENED = ("reuters",)
"""Datasets on which SetFit trains in bfloat16 and reads 128 tokens, as ``zlpr train`` does.

With its defaults, one seed of Reuters takes three hours of one core: 1,268 steps of 8.5 seconds.
"""
SETFIT_SCRIPT = Path(__file__).with_name("setfit_cell.py")
THRESHOLDS = np.linspace(0.02, 0.98, 49)


@dataclass(frozen=True)
class Cell:
    """One dataset, method, number of texts per label and seed."""

    dataset: str
    method: str
    per_label: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.method}-{self.per_label}-{self.seed}"


def load_dataset(name: str, folder: Path, output: Path) -> dict[str, Any]:
    """Return label names, texts and lists of names of a dataset; the output folder keeps them."""
    place = output / "data" / f"{name}.json"
    if not place.exists():
        words = [word.format(folder) for word in defaults.TASKS[name].words]
        words, _ = complete_options([*words, f"--output_dir={output / 'none'}"], ("zlpr", "train"))
        data = load_data(parse_arguments(words).data)
        names = data.label_space.names
        found: dict[str, Any] = {"names": names}
        for split in ("train", "test"):
            labels = [[names[i] for i in np.flatnonzero(row)] for row in data.targets(split) >= 0.5]
            found[split] = {"texts": [" ".join(each) for each in data.texts(split)]}
            found[split]["labels"] = labels
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(found), encoding="utf-8")
    found = json.loads(place.read_text(encoding="utf-8"))
    for split in ("train", "test"):
        rows = found[split]["labels"]
        found[split]["targets"] = np.array([[n in row for n in found["names"]] for row in rows])
    return found


def draw_sample(targets: NDArray[np.bool_], per_label: int, seed: int) -> list[int]:
    """Return the rows of a sample, in order."""
    draw = np.random.default_rng(seed)
    rows: set[int] = set()
    for column in targets.T:
        found = np.flatnonzero(column)
        rows |= set(draw.choice(found, min(per_label, len(found)), replace=False).tolist())
    return sorted(rows)


def run_cell(cell: Cell, options: argparse.Namespace) -> None:
    """Run a cell and write its numbers."""
    data = load_dataset(cell.dataset, options.folder, options.output)
    rows = draw_sample(data["train"]["targets"], cell.per_label, cell.seed)
    sample = {
        "texts": [data["train"]["texts"][row] for row in rows],
        "labels": [data["train"]["labels"][row] for row in rows],
        "targets": data["train"]["targets"][rows],
    }
    if cell.method == "zlpr":
        found = run_zlpr(cell, sample, data, options.output)
    elif cell.method == "setfit":
        found = run_setfit(cell, sample, data, options)
    elif cell.method == "svm":
        found = run_svm(sample, data, cell.seed)
    else:
        found = run_embeddings(sample, data, cell.seed, options.output / "data" / cell.dataset)
    numbers = {"rows": len(rows), "labels": len(data["names"]), **found}
    place = cell_file(cell, options.output)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.write_text(json.dumps(vars(cell) | numbers, indent=1) + "\n", encoding="utf-8")
    part.rename(place)
    print(cell.name, json.dumps(numbers["scores"]), f"{numbers['seconds']:.0f} s", flush=True)


def cell_file(cell: Cell, output: Path) -> Path:
    return output / "cells" / f"{cell.name}.json"


def run_command(words: list[str], log: Path) -> float:
    """Run a program on one thread and return its processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            words,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: status {done.returncode}, see {log}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_zlpr(
    cell: Cell, sample: dict[str, Any], data: dict[str, Any], output: Path
) -> dict[str, Any]:
    """Train with the defaults of ``zlpr train``; texts that are in several rows stay apart."""
    folder = output / "runs" / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    files = {"train": sample, "test": data["test"]}
    for name, rows in files.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as stream:
            for text, labels in zip(rows["texts"], rows["labels"], strict=True):
                stream.write(json.dumps({"text": text, "labels": labels}) + "\n")
    model = folder / "model"
    words = [
        sys.executable, "-m", "zlpr_hf.cli", "train", str(folder / "train.jsonl"),
        f"--test_file={folder / 'test.jsonl'}", f"--seed={cell.seed}",
        f"--output_dir={model}", "--overwrite_output_dir=true", "--join_rows=false",
        "--save_logits=true",
    ]  # fmt: skip
    seconds = run_command(words, folder / "log.txt")
    results = json.loads((model / RESULTS_FILE).read_text(encoding="utf-8"))
    scores = {name: results["test"][MODEL_ROW][name] for name in METRICS}
    labels = len(results["label_scores"])
    if labels != len(data["names"]):
        raise SystemExit(f"{cell.name}: the model has {labels} labels")
    with np.load(model / LOGITS_FILE) as stored:
        scored = {"zlpr": expit(stored["test_logits"])}
        best = find_best_threshold(scored, stored["test_targets"] >= 0.5)
    shutil.rmtree(model)
    facts = {"training": results["training"], "versions": results["provenance"]}
    facts |= {"best_threshold": best.threshold}
    scores = {"zlpr": scores, "zlpr_oracle": best.metrics}
    return {"scores": scores, "seconds": seconds, "facts": facts}


class BestThreshold(NamedTuple):
    """The scores and the threshold with the best F1 on the test texts."""

    name: str
    threshold: float
    metrics: dict[str, float]


def find_best_threshold(
    scores: Mapping[str, NDArray[np.float32]], targets: NDArray[np.bool_]
) -> BestThreshold:
    """Return the best threshold for scores in [0, 1], by the mean of micro-F1 and macro-F1."""
    every = (
        BestThreshold(name, threshold, measure(each > threshold, targets))
        for name, each in scores.items()
        for threshold in (*THRESHOLDS, 0.5)
    )
    return max(every, key=lambda each: each.metrics["f1_micro"] + each.metrics["f1_macro"])


def run_setfit(
    cell: Cell, sample: dict[str, Any], data: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Train SetFit in its environment; decide with both heads, and with the best threshold."""
    folder = options.output / "runs" / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "model": resolve_model_path(DEFAULT_MODEL),
        "num_iterations": NUM_ITERATIONS,
        "seed": cell.seed,
        "shortened": cell.dataset in SHORTENED,
        "texts": sample["texts"],
        "targets": sample["targets"].astype(int).tolist(),
        "test_texts": data["test"]["texts"],
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    result = folder / "result.npz"
    words = [options.setfit_python, str(SETFIT_SCRIPT), str(folder / "spec.json"), str(result)]
    seconds = run_command(words, folder / "log.txt")
    with np.load(result) as stored:
        arrays = {name: stored[name] for name in ("default", "balanced")}
        facts = json.loads(str(stored["facts"]))
    targets = data["test"]["targets"]
    best = find_best_threshold(arrays, targets)
    facts |= {"best_threshold": best.threshold, "best_head": best.name}
    scores = {f"setfit_{name}": measure(each > 0.5, targets) for name, each in arrays.items()}
    return {"scores": scores | {"setfit_oracle": best.metrics}, "seconds": seconds, "facts": facts}


def summarize(output: Path) -> dict[str, Any]:
    """Return all finished cells, and their means with 95 % t-intervals over the seeds."""
    paths = sorted((output / "cells").glob("*.json"))
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    means = []
    key = itemgetter("dataset", "per_label", "method")
    for (dataset, per_label, _), group in itertools.groupby(sorted(cells, key=key), key):
        runs = list(group)
        for row in runs[0]["scores"]:
            found = {name: _mean([run["scores"][row][name] for run in runs]) for name in METRICS}
            means.append(
                {"dataset": dataset, "per_label": per_label, "row": row, "seeds": len(runs)}
                | found
                | {"seconds": _mean([run["seconds"] for run in runs])}
                | {"texts": float(np.mean([run["rows"] for run in runs]))}
            )
    return {"means": means, "cells": cells}


def _mean(values: list[float]) -> dict[str, float | None]:
    """Return a mean and the half width of its interval, None for one value."""
    half = None
    if len(values) > 1:
        spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
        half = float(t.ppf(0.975, len(values) - 1)) * spread
    return {"mean": float(np.mean(values)), "half_width": half}


def open_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Yield the cells to run: all seeds of a method before the next method."""
    only = set(options.only or ())
    for dataset, per_label, method, seed in itertools.product(
        DATASETS, options.per_label, METHODS, options.seeds
    ):
        cell = Cell(dataset, method, per_label, seed)
        chosen = all(not only & set(names) or each in only for names, each in
                     ((DATASETS, dataset), (METHODS, method)))  # fmt: skip
        possible = method != "setfit" or options.setfit_python
        if chosen and possible and not cell_file(cell, options.output).exists():
            yield cell


def main() -> None:
    """Run the cells that are not finished, and save all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/few_texts"))
    parser.add_argument("--only", nargs="+", choices=(*DATASETS, *METHODS))
    parser.add_argument("--per_label", type=int, nargs="+", default=[8])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--setfit_python", help="the Python that has SetFit installed")
    options = parser.parse_args()
    options.output = options.output.resolve()
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(partial(run_cell, options=options), open_cells(options)))
    save("few_texts", {"metrics": METRICS, **summarize(options.output)})


if __name__ == "__main__":
    main()
