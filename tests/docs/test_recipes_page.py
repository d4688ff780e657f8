"""docs/recipes.md lists every configuration, and the comparisons as their plans have them."""

import re

import pytest

from tests.command_lines import REPOSITORY
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.results import Comparison
from zlpr_hf.workflows.recipes import find_recipe

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES, PLANS = (
    {
        cells[0].strip("`"): cells[1:]
        for line in part.splitlines()
        if re.match(r"\| `\w+` \|", line)
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    for part in PAGE.split("## Comparison plans")
)

NOT_RUN = ("_bert_base", "_lora")


@pytest.mark.parametrize(("rows", "folder"), [(RECIPES, "configs"), (PLANS, "configs/compare")])
def test_every_configuration_is_there(rows: dict[str, list[str]], folder: str) -> None:
    assert set(rows) == {path.stem for path in (REPOSITORY / folder).glob("*.yaml")}


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if name.endswith(("_bert_base", "_lora"))]
)
def test_what_was_not_run_has_no_figures(name: str) -> None:
    assert RECIPES[name][1:] == ["no"]
    assert not list((REPOSITORY / "results").rglob(f"{name}*"))


@pytest.mark.parametrize("name", PLANS)
def test_comparisons_are_those_of_the_plans(name: str) -> None:
    plan = read_plan(find_recipe(name, "compare"))
    losses, seeds, rows, result = PLANS[name]
    compared, trained = {cell.loss for cell in plan.cells}, {cell.seed for cell in plan.cells}
    assert (int(losses), int(seeds)) == (len(compared), len(trained))
    limit = plan.cells[0].config.data.max_train_samples
    assert rows == ("all" if limit is None else f"the first {limit:,}")
    target = re.search(r"\]\(\.\./(.*)\)", result)
    if target:
        comparison = Comparison.load(REPOSITORY / target[1].replace(".md", ".json"))
        assert {row.loss for row in comparison.rows} == compared
