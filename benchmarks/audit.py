"""How well zlpr audit finds planted noise, and how much training without its cells recovers.

FOLDER holds cooking/ and reuters21578/ in their original form. Texts are embedded once by the
default encoder, and linear ZLPR heads are cross-fitted on the embeddings. --cleanlab names the
Python of an environment with cleanlab, which scores the same logits; without it that part is left
out. Embeddings, logits and the scores of cleanlab in --output are not computed again: after a
change of the heads, name a new folder. The priors of the audit were chosen on the seeds 0 and 1.

Run: python -m benchmarks.audit FOLDER [--cleanlab ENVIRONMENT/bin/python]
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score

from benchmarks.audit_noise import cross_fit, plant, predict, score_cells, train_head
from benchmarks.embeddings import embed
from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf.choices import DOUBTFUL_PROBABILITY
from zlpr_hf.files.atomic import whole_file
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

DATA = {
    "cooking": {
        "train_file": "{}/cooking/train.jsonl",
        "test_file": "{}/cooking/test.jsonl",
        "label_column": "cats",
    },
    "reuters": {"dataset_name": "reuters21578", "data_dir": "{}/reuters21578"},
}
DECAY = {"cooking": 1e-3, "reuters": 3e-4}
"""Weight decay of the heads: of 1e-3, 3e-4 and 1e-4, the lowest loss out of fold on clean tags."""
TITLES = {"cooking": "Cooking", "reuters": "Reuters-90"}
KINDS, SHARES = ("flipped", "missing"), (0.05, 0.1, 0.2, 0.3)
MASK_SHARE = 0.2
MAX_TOKENS = 128
DEFAULT, ALONE = "noise model with the logit (default)", "noise model alone"


@dataclass(frozen=True)
class Embedded:
    """Embeddings and targets of training and test rows, and the weight decay of heads on them."""

    x: Any
    y: Any
    test_x: Any
    test_y: Any
    decay: float


def load_embedded(name: str, folder: Path, output: Path) -> Embedded:
    """Return the embeddings of a dataset, cached in a file; validation rows count as training."""
    path = output / f"{name}.npz"
    if not path.is_file():
        words = {key: value.format(folder) for key, value in DATA[name].items()}
        data = load_data(DataArguments(**words))  # type: ignore[arg-type]
        features = {
            split: embed(
                [" ".join(each) for each in data.texts(split)],
                max_tokens=MAX_TOKENS,
                dtype=torch.bfloat16,
            )
            for split in data.splits
        }
        targets = {split: data.targets(split) for split in data.splits}
        with whole_file(path) as part:
            np.savez(
                part,
                **{f"{split}_x": values for split, values in features.items()},  # type: ignore[arg-type]
                **{f"{split}_y": values for split, values in targets.items()},  # type: ignore[arg-type]
            )
    with np.load(path) as stored:
        train = {
            key: np.concatenate([stored[f"{s}_{key}"] for s in ("train", "validation")])
            for key in "xy"
        }
        return Embedded(
            **train, test_x=stored["test_x"], test_y=stored["test_y"], decay=DECAY[name]
        )


def find_planted(data: Embedded, kind: str, share: float, seed: int, path: Path) -> dict[str, Any]:
    """Plant noise, and return the average precision of each score for cells and for rows.

    The out-of-fold logits are kept in a file.
    """
    given = plant(data.y, share, kind, seed)
    if not path.is_file():
        logits = cross_fit(data.x, given, data.decay, seed=seed)
        with whole_file(path) as part:
            np.savez_compressed(
                part, logits=logits, tagged=given == 1, scores=compute_scores(logits)
            )
    with np.load(path) as stored:
        logits = stored["logits"]
    wrong = given != data.y
    cells = score_cells(logits, given, data.x)
    chances = cells[ALONE]
    found = {
        "planted": int(wrong.sum()),
        "estimate": float(chances.sum()),
        "masked": int((chances > DOUBTFUL_PROBABILITY).sum()),
        "cells": {name: _precision(wrong, each) for name, each in cells.items()},
        "rows": {DEFAULT: _precision(wrong.any(1), cells[DEFAULT].max(1))},
    }
    if share == MASK_SHARE:
        found["f1"] = train_masked(data, given, chances)
    return found


def train_masked(data: Embedded, given: Any, chances: Any) -> dict[str, Any]:
    """Return test F1 after training on clean, noisy and masked rows, and with all noise masked."""
    masked, oracle = given.copy(), given.copy()
    masked[chances > DOUBTFUL_PROBABILITY] = -100
    oracle[given != data.y] = -100
    runs = {"clean": data.y, "noisy": given, "masked": masked, "all noise masked": oracle}
    truth = data.test_y == 1
    decided = {
        name: predict(train_head(data.x, targets, data.decay), data.test_x) > 0
        for name, targets in runs.items()
    }
    return {
        average: {
            name: float(f1_score(truth, each, average=average, zero_division=0))
            for name, each in decided.items()
        }
        for average in ("macro", "micro")
    }


def _precision(wrong: Any, scores: Any) -> float:
    return float(average_precision_score(wrong.ravel(), scores.ravel()))


def ask_cleanlab(path: Path, wrong: Any, python: str) -> dict[str, Any]:
    """Return the average precision of the scores of cleanlab for the logits of a file."""
    scores = path.with_suffix(".cleanlab.npz")
    if not scores.is_file():
        script = Path(__file__).with_name("cleanlab_scores.py")
        subprocess.run([python, str(script), str(path)], check=True)
    found: dict[str, dict[str, float]] = {"cell": {}, "row": {}}
    with np.load(scores) as stored:
        for name in stored.files:
            level, _, title = name.partition("|")
            found[level][title] = _precision(
                wrong if level == "cell" else wrong.any(1), stored[name]
            )
    return {"cleanlab_cells": found["cell"], "cleanlab_rows": found["row"]}


def main() -> None:
    """Measure all parts and save their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/audit"))
    parser.add_argument("--cleanlab", metavar="PYTHON")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", nargs="+", type=int, default=[2, 3])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.cleanlab is None:
        print("cleanlab is left out: name a Python that has it with --cleanlab", file=sys.stderr)
    runs = []
    for seed, name in product(options.seeds, options.data):
        data = load_embedded(name, options.folder, options.output)
        for kind, share in product(KINDS, SHARES):
            path = options.output / f"{name}-{kind}-{share}-{seed}.npz"
            numbers = find_planted(data, kind, share, seed, path)
            if options.cleanlab is not None:
                wrong = plant(data.y, share, kind, seed) != data.y
                numbers |= ask_cleanlab(path, wrong, options.cleanlab)
            runs.append({"data": name, "kind": kind, "share": share, "seed": seed, **numbers})
            print(path.stem, {key: f"{value:.3f}" for key, value in numbers["cells"].items()})
    save("audit", {"mask_share": MASK_SHARE, "mask_above": DOUBTFUL_PROBABILITY, "runs": runs})


def _load() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((RESULTS / "audit.json").read_text(encoding="utf-8"))
    return stored


def _mean(runs: list[dict[str, Any]], key: str) -> dict[str, float]:
    found = [run.get(key, {}) for run in runs]
    return {name: float(np.mean([each.get(name, 0) for each in found])) for name in found[0]}


def render_planted() -> str:
    """Return average precision per data set and noise, with the best score of cleanlab."""
    rows = []
    runs = _load()["runs"]
    for data, title in TITLES.items():
        for kind in KINDS:
            for share in SHARES:
                chosen = [
                    run
                    for run in runs
                    if (run["data"], run["kind"], run["share"]) == (data, kind, share)
                ]
                if not chosen:
                    continue
                cells, others = _mean(chosen, "cells"), _mean(chosen, "cleanlab_cells")
                by_row, other_rows = _mean(chosen, "rows"), _mean(chosen, "cleanlab_rows")
                counts = [np.mean([run[key] for run in chosen]) for key in ("planted", "estimate")]
                rows.append(
                    [
                        f"{title}, {kind}, {100 * share:.0f} %",
                        f"{cells[DEFAULT]:.3f}",
                        f"{cells['self-confidence']:.3f}",
                        _best(others),
                        f"{by_row[DEFAULT]:.3f}",
                        _best(other_rows),
                        *(f"{count:,.0f}" for count in counts),
                    ]
                )
    columns = [
        "planted noise", "cells: audit", "self-confidence", "best of cleanlab", "rows: audit",
        "best of cleanlab", "planted", "estimate",
    ]  # fmt: skip
    return markdown_table(columns, rows)


def _best(scores: dict[str, float]) -> str:
    return f"{max(scores.values()):.3f}" if scores else "-"


def render_scores() -> str:
    """Return the mean average precision of each score function, per data set."""
    runs = _load()["runs"]
    found = {data: [run for run in runs if run["data"] == data] for data in TITLES}
    found = {data: each for data, each in found.items() if each}
    rows: list[list[str]] = []
    for key, prefix in (("cells", ""), ("cleanlab_cells", "cleanlab: ")):
        means = {data: _mean(each, key) for data, each in found.items()}
        names = next(iter(means.values()))
        order = sorted(names, key=lambda name: -np.mean([m.get(name, 0) for m in means.values()]))
        rows += [[prefix + n, *(f"{m.get(n, 0):.3f}" for m in means.values())] for n in order]
    return markdown_table(["score of a cell", *(TITLES[data] for data in found)], rows)


def render_retrained() -> str:
    """Return test macro-F1 and micro-F1 after training on clean, noisy and masked rows."""
    rows = []
    runs = _load()["runs"]
    for data, title in TITLES.items():
        for kind in KINDS:
            chosen = [
                run for run in runs if (run["data"], run["kind"]) == (data, kind) and "f1" in run
            ]
            if not chosen:
                continue
            macro, micro = (
                {
                    name: float(np.mean([run["f1"][average][name] for run in chosen]))
                    for name in ("clean", "noisy", "masked", "all noise masked")
                }
                for average in ("macro", "micro")
            )
            lost = macro["clean"] - macro["noisy"]
            share = f"{100 * (macro['masked'] - macro['noisy']) / lost:.0f} %" if lost > 0 else "-"
            cells = [f"{macro[name]:.3f} / {micro[name]:.3f}" for name in macro]
            rows.append([f"{title}, {kind}", *cells, share])
    columns = [
        "20 % noise", "clean tags", "noisy tags", "doubtful cells masked", "all noise masked",
        "recovered",
    ]  # fmt: skip
    return markdown_table(columns, rows)


BLOCKS = {
    "audit_planted": render_planted,
    "audit_scores": render_scores,
    "audit_retrained": render_retrained,
}

if __name__ == "__main__":
    main()
