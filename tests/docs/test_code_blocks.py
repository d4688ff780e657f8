"""Every block of code in README and documentation: Python runs, commands are read, YAML is valid.

What a page shows as output, or as code of others, it marks as ``text``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.command_lines import REPOSITORY, check_line, options_of
from tests.docs.pages import PAGES, TOKENS, blocks
from tests.local_hub import LocalHub
from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.tuning.space import read_search_space

DIRECTIVES = {"{include}", "{toctree}", "{eval-rst}"}
"""What Sphinx reads; whoever builds the site sees whether it is right."""
TALKS_TO_THE_HUB = "from zlpr_hf.workflows.push import"
EXPORTED = "out/quickstart-onnx-int8"


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    for token in TOKENS[page]:
        line = f"line {token.map[0] + 1}" if token.map else ""
        assert token.type != "code_block", f"{page}, {line}: indented; fence it and name its kind"
        if token.type == "fence":
            kind = token.info.split()[0] if token.info.strip() else ""
            assert kind in {"python", "bash", "yaml", "text"} | DIRECTIVES, f"{page}, {line}"


def check_names(page: str, names: dict[str, Any]) -> None:
    """What the code of a page should have left behind, where the page says so."""
    if page == "README.md":
        train = blocks(page, "python")[0]
        assert len([line for line in train.splitlines() if line.strip()]) <= 15
        assert Path("out/mine/model.safetensors").is_file()
    elif page == "docs/losses.md":
        assert (names["scores"] > 0).sum() == len(names["sets"].sets[names["best"]])
    elif page == "docs/speed.md":
        torch.testing.assert_close(names["same"], names["loss"])
        assert len(names["predicted"]) == 64


PRINTED = {
    "README.md": r"(?s).*\[.*\]\n",
    "docs/data.md": r"\('cheap', 'fast', 'kind'\) \[1\.0, 1\.0, 0\.0\]\n",
    "docs/serving.md": r"\[\[ *True *False *False\]\]\n",
}


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_runs_as_it_stands(
    page: str,
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(examples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    code = [each for each in blocks(page, "python") if TALKS_TO_THE_HUB not in each]
    if any(EXPORTED in each for each in code):
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        Path("texts.txt").write_text("a small cat\na big dog\n")
        argv = ["export", "out/quickstart", "--quantize", "int8", "--check_file", "texts.txt"]
        assert main(argv) == 0
    capsys.readouterr()
    names: dict[str, Any] = {}
    for each in code:  # in one namespace: blocks of a page build on each other
        exec(compile(each, page, "exec"), names)
    check_names(page, names)
    assert re.fullmatch(PRINTED.get(page, "(?s).*"), capsys.readouterr().out)


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
        assert hub.repositories["me/weaknesses"].commits


@pytest.mark.parametrize("page", pages_with("bash"))
def test_commands_are_read_by_their_programs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "torchrun --nproc_per_node 2 train.py configs/quickstart.yaml --learning_rat 1",
        "accelerate launch --config_file configs/accelerate/nowhere.yaml train.py",
        "python -m benchmarks.training --dataset FOLDER",
        "pip install '.[onxx]'",
        "make quickstrat",
        "wget example.org",
    ],
)
def test_a_wrong_line_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises((AssertionError, InputError, SystemExit)):
        check_line(line)


STARTS = ("zlpr ", "python train.py ", "python -m ", "torchrun ", "accelerate launch ", "make ")


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_read_too(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
