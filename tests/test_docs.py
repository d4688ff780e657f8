"""The code in docs/serving.md runs as it stands, with a tiny model in place of the quickstart's."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tables
from zlpr_hf.cli import main

TEXT = (Path(__file__).parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_pipeline(finished: tuple[Path, Any]) -> None:
    block = next(block for block in BLOCKS if "load_pipeline" in block)
    exec(block.replace("out/quickstart", str(finished[0])), {})


def test_onnx_without_this_package(
    finished: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder = tmp_path / "exported"
    assert main(["export", str(finished[0]), "--output", str(folder)]) == 0
    capsys.readouterr()
    block = next(block for block in BLOCKS if "onnxruntime" in block)
    exec(block.replace("out/quickstart-onnx-int8", str(folder)), {})
    assert re.fullmatch(r"\[\[( *(True|False)){3}\]\]\n", capsys.readouterr().out)


def test_every_command_shown_is_one_that_exists() -> None:
    shown = re.findall(r"^zlpr (\w+) ", TEXT, re.MULTILINE)
    assert {"predict", "evaluate", "export", "demo", "push"} <= set(shown)
    assert len(BLOCKS) == 3  # the third talks to the Hub: tests/test_hub.py


def test_the_tables_of_speed_are_those_of_the_benchmarks() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.render(page) == page
    assert "| zlpr_hf |" in page


def test_code_for_very_many_labels() -> None:
    blocks = re.findall(r"```python\n(.*?)```", tables.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    (block,) = blocks
    exec(block, names)
    torch.testing.assert_close(names["same"], names["loss"])
    assert len(names["predicted"]) == 64
