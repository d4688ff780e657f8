"""Train with defaults alone on six datasets, beside TF-IDF + SVM and the recipes tuned by hand.

FOLDER holds the datasets in their original form: go_emotions/, reuters21578/, cooking/ and
jigsaw_sample/. Runs that are finished in --output are not repeated.

Run: python -m benchmarks.defaults FOLDER [--output out/defaults] [--tasks reviews cwe ...]
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.output import save
from zlpr_hf.cli.main import main as zlpr
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.output_dir import CONFIG_FILE, RESULTS_FILE

SVM_ROW = "TF-IDF + linear SVM"
METRICS = ("f1_micro", "f1_macro", "subset_accuracy")
CHOSEN = ("learning_rate", "per_device_train_batch_size", "num_train_epochs", "max_length")


@dataclass(frozen=True)
class Task:
    """A dataset with the words after ``zlpr train``, and how good its recipe tuned by hand was.

    ``tuned`` are the metrics of the recipe before defaults were chosen from the data.
    """

    title: str
    words: tuple[str, ...]
    seeds: tuple[int, ...] = (42,)
    tuned: tuple[float, float, float] | None = None


TASKS = {
    "reviews": Task("Reviews (tutorial)", ("examples/reviews.csv", "--missing_labels=no_label")),
    "cwe": Task("CWE, six labels", ("--dataset_name=cwe_frequent", "--test_size=0.2")),
    "cooking": Task("Cooking", ("{}/cooking/train.jsonl", "--test_file={}/cooking/test.jsonl")),
    "jigsaw": Task(
        "Jigsaw, 4,000 rows",
        ("{}/jigsaw_sample/train.csv", "--test_file={}/jigsaw_sample/validation.csv"),
    ),
    "reuters": Task(
        "Reuters-90",
        ("--dataset_name=reuters21578", "--data_dir={}/reuters21578"),
        tuned=(0.895, 0.601, 0.863),
    ),
    "go_emotions": Task(
        "GoEmotions",
        ("--dataset_name={}/go_emotions", "--join_rows=false"),
        tuned=(0.611, 0.530, 0.493),
    ),
}


def train(name: str, task: Task, seed: int, folder: Path, output: Path) -> dict[str, Any]:
    """Train one task unless it is finished; return its numbers."""
    place = output / (name if task.seeds == (42,) else f"{name}-{seed}")
    if not (place / RESULTS_FILE).exists():
        words = [word.format(folder) for word in task.words]
        status = zlpr(["train", *words, f"--seed={seed}", f"--output_dir={place}"])
        if status:
            raise SystemExit(f"{name}: training ended with status {status}")
    results = json.loads((place / RESULTS_FILE).read_text(encoding="utf-8"))
    config = yaml.safe_load((place / CONFIG_FILE).read_text(encoding="utf-8"))
    rows = {split: results["profile"]["splits"][split]["rows"] for split in ("train", "test")}
    return {
        "seed": seed,
        "rows": rows,
        "labels": len(results["label_scores"]),
        "chosen": {option: config[option] for option in CHOSEN},
        "minutes": results["training"]["seconds"] / 60,
        "model": [results["test"][MODEL_ROW][metric] for metric in METRICS],
        "svm": [results["test"][SVM_ROW][metric] for metric in METRICS],
        "ece": results["calibration"]["ece"],
        "shown_ece": results["calibration"]["shown_ece"],
    }


def main() -> None:
    """Train all tasks that are not finished and save their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/defaults"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()
    found = {
        name: {
            "title": task.title,
            "tuned": task.tuned,
            "runs": [
                train(name, task, seed, options.folder, options.output) for seed in task.seeds
            ],
        }
        for name, task in TASKS.items()
        if name in options.tasks
    }
    save("defaults", {"metrics": METRICS, "tasks": found})


if __name__ == "__main__":
    main()
