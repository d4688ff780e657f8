"""The README: its scripts run, its figures are those of the committed runs."""

import json
import re
import statistics
from pathlib import Path

import pytest

from zlpr_hf.comparison.gathering import Comparison
from zlpr_hf.comparison.table import render_comparison
from zlpr_hf.report import MODEL_ROW

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SVM_ROW = "TF-IDF + linear SVM"
COLUMNS = ("f1_micro", "f1_macro", "subset_accuracy")
RUNS = {
    "CWE": "quickstart-seed*.json",
    "Reuters-90": "reuters.json",
    "GoEmotions": "go_emotions.json",
}

COMPARED = {"CWE": "cwe", "Reuters-90": "reuters", "GoEmotions": "go_emotions"}
COMPARED_RULES = (
    ("zlpr", "own"), ("bce", "own"), ("bce", "global"), ("asymmetric", "own"), ("powerset", "own"),
    ("lsep", "own"),
)  # fmt: skip


def test_scripts_run_as_they_stand(
    encoder_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    train, use = BLOCKS
    assert len([line for line in train.splitlines() if line.strip()]) <= 15
    exec(train.replace("google-bert/bert-base-uncased", str(encoder_dir)), {})
    assert (tmp_path / "out" / "mine" / "model.safetensors").is_file()
    capsys.readouterr()
    exec(use, {})
    assert capsys.readouterr().out.startswith("[")


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


@pytest.mark.parametrize("name", COMPARED)
def test_compared_figures_are_those_of_the_comparison(name: str) -> None:
    folder = REPOSITORY / "results" / "compare" / COMPARED[name]
    comparison = Comparison.load(folder / "comparison.json")
    rows = {(row.loss, row.rule): row for row in comparison.rows}
    cells = [
        " / ".join(f"{rows[key].mean[column]:.3f}" for column in COLUMNS) for key in COMPARED_RULES
    ]
    line = next(line for line in README.splitlines() if line.startswith(f"| {name}, compared"))
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
    text = " ".join(README.split())
    assert f"ZLPR takes {one[0]} and {one[1]} times as long as torch's BCE" in text
    assert f"(on two {two[0]} and {two[1]};" in text


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (REPOSITORY / target).exists(), target
