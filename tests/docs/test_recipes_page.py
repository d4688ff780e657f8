"""docs/recipes.md lists every configuration, and the comparisons as their plans have them."""

import re
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.results import Comparison

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if re.match(r"\| `[\w/]+\.yaml`", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_every_configuration_is_there() -> None:
    files = [*REPOSITORY.glob("configs/*.yaml"), *REPOSITORY.glob("configs/compare/*.yaml")]
    assert set(ROWS) == {str(path.relative_to(REPOSITORY / "configs")) for path in files}


@pytest.mark.parametrize("name", [name for name in ROWS if name.endswith("_bert_base.yaml")])
def test_what_was_not_run_has_no_figures(name: str) -> None:
    assert ROWS[name][1:] == ["no"]
    assert not list((REPOSITORY / "results").rglob(f"{Path(name).stem}*"))


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("compare/")])
def test_comparisons_are_those_of_the_plans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    plan = read_plan(Path("configs") / name)
    losses, seeds, rows, result = ROWS[name]
    compared, trained = {cell.loss for cell in plan.cells}, {cell.seed for cell in plan.cells}
    assert (int(losses), int(seeds)) == (len(compared), len(trained))
    limit = plan.cells[0].config.data.max_train_samples
    assert rows == ("all" if limit is None else f"the first {limit:,}")
    target = re.search(r"\]\(\.\./(.*)\)", result)
    if target:
        comparison = Comparison.load(REPOSITORY / target[1].replace(".md", ".json"))
        assert {row.loss for row in comparison.rows} == compared
