"""docs/recipes.md: every configuration, and only figures that runs have left in results/."""

import json
import re
import statistics
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from zlpr_hf.reports.report import MODEL_ROW
from zlpr_hf.workflows.comparison.gathering import Comparison
from zlpr_hf.workflows.comparison.plan import read_plan

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
COLUMNS = ("f1_micro", "f1_macro", "subset_accuracy")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if re.match(r"\| `[\w/]+\.yaml`", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
RUN = {"quickstart": "quickstart-seed*", "reuters": "reuters", "go_emotions": "go_emotions"}


def test_every_configuration_is_there() -> None:
    files = [*REPOSITORY.glob("configs/*.yaml"), *REPOSITORY.glob("configs/compare/*.yaml")]
    assert set(ROWS) == {str(path.relative_to(REPOSITORY / "configs")) for path in files}


@pytest.mark.parametrize("name", RUN)
def test_figures_are_those_of_the_runs(name: str) -> None:
    paths = sorted((REPOSITORY / "results").glob(f"{RUN[name]}.json"))
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    data, seeds, minutes, *figures = ROWS[f"{name}.yaml"]
    for predictor, shown in zip(("TF-IDF + linear SVM", MODEL_ROW), figures, strict=True):
        means = [statistics.mean(run["test"][predictor][each] for run in runs) for each in COLUMNS]
        assert shown == " / ".join(f"{mean:.3f}" for mean in means)
    assert set(re.findall(r"\d+", seeds)) == {str(run["training"]["seed"]) for run in runs}
    seconds = statistics.median(run["training"]["seconds"] for run in runs)
    resumed = any(run["training"]["resumed_from"] for run in runs)  # counts only what came after
    assert resumed or abs(seconds / 60 - int(minutes)) < 1
    splits = runs[0]["profile"]["splits"]
    texts = sum(split["rows"] for split in splits.values())
    assert data.endswith(f": {texts:,} texts, {len(runs[0]['label_scores'])} labels")


@pytest.mark.parametrize("name", [name for name in ROWS if name.endswith("_bert_base.yaml")])
def test_what_was_not_run_has_no_figures(name: str) -> None:
    assert ROWS[name][1:] == ["no"]
    assert not list((REPOSITORY / "results").rglob(f"{Path(name).stem}*"))


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("compare/")])
def test_comparisons_are_those_of_the_plans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    plan = read_plan(Path("configs") / name)
    losses, seeds, rows, result = ROWS[name]
    assert (int(losses), int(seeds)) == (len(plan.losses), len(plan.seeds))
    limit = plan.cells[0].arguments[1].max_train_samples
    assert rows == ("all" if limit is None else f"the first {limit:,}")
    target = re.search(r"\]\(\.\./(.*)\)", result)
    if target:
        comparison = Comparison.load(REPOSITORY / target[1].replace(".md", ".json"))
        assert {row.loss for row in comparison.rows} == set(plan.losses)
