"""All tests marked ``gpu`` and the figures of one card, in ``results/gpu-CARD.json``.

Figures: the losses, training steps and predictions of MiniLM in the sizes of the recipes, and the
quickstart with its predictions against transformers' pipeline.

Run: python -m benchmarks.gpu   (make gpu)
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from transformers import pipeline

from benchmarks import loss, loss_cost
from benchmarks.loss import timed
from benchmarks.output import save
from benchmarks.step import SIZES, Steps, timed_steps
from tests.device import DEVICE, IS_THERE, ON_CPU
from zlpr_hf import Classifier, Report
from zlpr_hf.reports.provenance import PACKAGE_ROOT, find_revision, find_versions
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.load_data import load_data

REPOSITORY = Path(__file__).parents[1]
DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
QUICKSTART = ("quickstart",)
Figures = dict[str, Any]


def describe_card() -> Figures:
    """Return name, driver, CUDA and memory of the card."""
    if ON_CPU:
        return {"name": DEVICE}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "driver": subprocess.run(DRIVER, capture_output=True, text=True).stdout.strip(),
        "cuda": torch.version.cuda,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
    }


def run_tests() -> Figures:
    """Run the tests in a process of their own; return exit status and outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tests.xml"
        more = ["-o", "junit_family=xunit1", f"--junitxml={file}"]  # the family with values
        command = [sys.executable, "-m", "pytest", "-m", "gpu", *more, "tests"]
        status = subprocess.run(command, cwd=REPOSITORY).returncode
        return {"exit_status": status, "tests": read_outcomes(file) if file.exists() else {}}


def read_outcomes(file: Path) -> Figures:
    """Return outcome, seconds, message and measured values of each test in a JUnit file."""
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        problem = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        found[f"{case.get('classname')}.{case.get('name')}"] = {
            "outcome": "passed" if problem is None else problem.tag,
            "seconds": float(case.get("time", "nan")),
            **({} if problem is None else {"message": problem.get("message")}),
            **{each.get("name"): float(each.get("value", "nan")) for each in case.iter("property")},
        }
    return found


def measure_losses() -> Figures:
    sizes = {f"{batch} x {labels}": (batch, labels) for batch, labels in loss.SIZES}
    return {name: loss.measure(*size, device=DEVICE) for name, size in sizes.items()}


def measure_all_losses() -> Figures:
    sizes = loss_cost.SIZES.items()
    return {str(labels): loss_cost.measure(labels, repeats, DEVICE) for labels, repeats in sizes}


def measure_steps() -> Figures:
    """Return milliseconds per step and per prediction, plain and compiled."""
    found: Figures = {}
    for compiled in (False, True):
        steps = Steps(compiled=compiled, device=DEVICE)
        for name, size in SIZES.items():
            for dtype in (torch.float32, torch.bfloat16):
                half = torch.autocast(
                    DEVICE,
                    torch.bfloat16,
                    enabled=dtype is torch.bfloat16,
                    cache_enabled=False,  # each step casts the weights, as in the trainer
                )
                with half:
                    found[f"{name}, {dtype}{', compiled' * compiled}"] = {
                        "training_milliseconds": 1000 * timed_steps(partial(steps.train, *size)),
                        "prediction_milliseconds": 1000
                        * timed_steps(partial(steps.predict, *size)),
                    }
    return found


def measure_quickstart() -> Figures:
    """Train the quickstart; compare its predictions with those of transformers' pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        config = parse_arguments([*QUICKSTART, f"--output_dir={folder}/out"])
        report: Report = finetune_config(config)
        classifier = Classifier.load(f"{folder}/out")
    model, tokenizer = classifier.model, classifier.tokenizer
    stock: Any = pipeline(
        "text-classification", model, tokenizer=tokenizer, top_k=None, truncation=True,
        batch_size=32, device=DEVICE,
    )  # fmt: skip
    texts = list(load_data(config.data).texts("test"))
    ways: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: stock(texts),
        "Classifier": partial(classifier.compute_logits, texts, long_texts="cut"),
        "Classifier, bfloat16": partial(
            classifier.compute_logits, texts, long_texts="cut", precision="bfloat16"
        ),
    }
    seconds = {name: min(timed(call) for _ in range(3)) for name, call in ways.items()}
    return {
        "training": report.training,
        "test": report.metrics,
        "texts_per_second": {name: len(texts) / value for name, value in seconds.items()},
    }


FIGURES: dict[str, Callable[[], Figures]] = {
    "loss": measure_losses,
    "loss_cost": measure_all_losses,
    "step": measure_steps,
    "quickstart": measure_quickstart,
}


def main() -> int:
    if not IS_THERE:
        print("gpu: requires a CUDA GPU; nothing was run")
        return 0
    card = describe_card()
    file = "gpu-" + re.sub(r"\W+", "-", card["name"].lower())
    about = {
        "card": card,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": find_versions(),
        "revision": find_revision(PACKAGE_ROOT),
    }
    found: Figures = run_tests()
    failed = found["exit_status"] != 0
    for name, measure in FIGURES.items():
        try:
            found[name] = measure()
        except Exception as error:  # the other figures of a borrowed card are still wanted
            found[name] = {"error": f"{type(error).__name__}: {error}"}
            failed = True
        save("gpu", about | found, folder=REPOSITORY / "results", file=file)
    print(f"saved to results/{file}.json")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
