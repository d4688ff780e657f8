"""The README and what it shows: scripts run, figures are those of the committed runs."""

import json
import re
import statistics
from pathlib import Path

import pytest

from benchmarks.picture import METRICS, PICTURE, RUNS, SVM_ROW, render
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.comparison.gathering import Comparison
from zlpr_hf.workflows.comparison.table import render_comparison

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMPARISON = (REPOSITORY / "docs" / "comparison.md").read_text(encoding="utf-8")
COLUMNS = ("f1_micro", "f1_macro", "subset_accuracy")

COMPARED = {"CWE": "cwe", "Reuters-90": "reuters", "GoEmotions": "go_emotions"}
COMPARED_RULES = (
    ("zlpr", "own"), ("bce", "own"), ("bce", "global"), ("asymmetric", "own"), ("powerset", "own"),
    ("lsep", "own"),
)  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("predictor", [SVM_ROW, MODEL_ROW])
def test_figures_are_those_of_the_runs(name: str, predictor: str) -> None:
    runs = [
        json.loads(path.read_text()) for path in sorted((REPOSITORY / "results").glob(RUNS[name]))
    ]
    assert len(runs) == (3 if name == "CWE" else 1)
    assert all(run["output_dir"].startswith("out/") for run in runs)
    means = [statistics.mean(run["test"][predictor][column] for run in runs) for column in COLUMNS]
    figures = " / ".join(f"{value:.3f}" for value in means)
    row = next(line for line in README.splitlines() if line.startswith(f"| {name}"))
    assert figures in row.replace("**", "")


def test_picture_shows_the_figures_of_the_table() -> None:
    picture = PICTURE.read_text(encoding="utf-8")
    assert picture == render()  # python -m benchmarks.picture
    assert f"]({PICTURE.relative_to(REPOSITORY)})" in README
    shown = re.findall(r'class="ink value"[^>]*>(0\.\d{3})<', picture)
    drawn = re.findall(r'class="bar\d" x="16" y="\d+" width="([\d.]+)" height="14"', picture)
    widths = [float(width) for width in drawn if "." in width]  # those of the legend are whole
    values = [float(value) for value in shown]
    longest = max(widths) / max(values)
    assert widths == pytest.approx([longest * value for value in values], abs=0.2)
    for name in RUNS:
        line = next(line for line in README.splitlines() if line.startswith(f"| {name}"))
        svm, ours = (cell.strip("* ").split(" / ") for cell in line.split("|")[2:4])
        panel, shown = shown[: 2 * len(METRICS)], shown[2 * len(METRICS) :]
        assert panel == [value for pair in zip(svm, ours, strict=True) for value in pair]
    assert shown == []


@pytest.mark.parametrize("name", COMPARED)
def test_compared_figures_are_those_of_the_comparison(name: str) -> None:
    folder = REPOSITORY / "results" / "compare" / COMPARED[name]
    comparison = Comparison.load(folder / "comparison.json")
    rows = {(row.loss, row.rule): row for row in comparison.rows}
    cells = [
        " / ".join(f"{rows[key].mean[column]:.3f}" for column in COLUMNS) for key in COMPARED_RULES
    ]
    line = next(line for line in COMPARISON.splitlines() if line.startswith(f"| {name}, compared"))
    assert [cell.strip() for cell in line.replace("**", "").split("|")[2:-1]] == cells
    table = (folder / "comparison.md").read_text()
    assert table == render_comparison(comparison, threshold_metric="f1_micro")
    assert all("out/compare/" in text for text in comparison.settings.values())


def test_cost_of_the_loss_is_that_of_the_benchmark() -> None:
    results = json.loads((REPOSITORY / "benchmarks/results/loss.json").read_text())["results"]
    one, two = (
        [f"{results[threads][f'64 x {labels}']['zlpr']['ratio']:.2f}" for labels in (4000, 30000)]
        for threads in ("1 threads", "2 threads")
    )
    text = " ".join(COMPARISON.split())
    assert f"ZLPR takes {one[0]} and {one[1]} times as long as torch's BCE" in text
    assert f"(on two {two[0]} and {two[1]};" in text


@pytest.mark.parametrize(
    "page", ["README.md", "docs/comparison.md", "docs/faq.md", "docs/migration.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert (path.parent / target).exists(), target
