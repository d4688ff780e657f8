"""The page of supported models: its table is complete, and some classes are checked again."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.model_checks import CHECKS, check_class
from benchmarks.model_table import COLUMNS, SUFFIX, YES, is_met, read_models
from benchmarks.tables import REPOSITORY
from benchmarks.tiny_models import find_classes

PAGE = REPOSITORY / "docs" / "models.md"
CLASSES = read_models()["classes"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Bert", "DebertaV2", "GPT2", "ModernBert", "T5", "XLNet"])
def test_a_few_classes_have_the_capabilities_of_the_table(name: str, tmp_path: Path) -> None:
    found = dict(check_class(f"{name}{SUFFIX}", tmp_path, without=["exports"]))  # takes 5 to 15 s
    expected = CLASSES[f"{name}{SUFFIX}"]["checks"]
    assert found == {each: line for each, line in expected.items() if each != "exports"}
    assert {line for each, line in found.items() if each != "offsets"} == {YES}
    assert is_met(found["offsets"])


def test_results_hold_every_class_of_transformers() -> None:
    if read_models()["transformers"] == version("transformers"):
        assert list(CLASSES) == list(find_classes())
    assert len(CLASSES) > 100
    assert list(COLUMNS) == list(CHECKS)


def test_page_has_a_row_for_every_class() -> None:
    rows = re.findall(r"^\| (\S+) \(`\S+`\) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [f"{name}{SUFFIX}" for name in rows] == list(CLASSES)


def test_no_class_ends_in_a_traceback() -> None:
    lines = {line for entry in CLASSES.values() for line in entry["checks"].values()}
    assert not [line for line in lines if line.startswith("traceback") or "\n" in line]
