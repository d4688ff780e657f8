"""Mappings in YAML files: scalars of YAML 1.2, and one line for everything that is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from zlpr_hf.errors import InputError
from zlpr_hf.files.yaml_mapping import read_yaml_mapping, render_yaml


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml_mapping(path, "expected names")


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"), ("on", "on"), ("true", True), ("1e-5", 1e-5), ("1.5E+3", 1500.0),
        ("007", "007"), ("0", 0), ("-12", -12), ("1_000", "1_000"), ("12:30", "12:30"),
        ("2020-01-02", "2020-01-02"), ("~", None), ("", None),
        ("'1'", "1"), (".5", 0.5), ("0x1F", "0x1F"),
    ],
)  # fmt: skip
def test_scalars(tmp_path: Path, scalar: str, value: Any) -> None:
    assert read(tmp_path, f"a: {scalar}\n") == {"a": value}


def test_names_are_text(tmp_path: Path) -> None:
    assert read(tmp_path, "no: x\n1: y\n1e5: {true: z}\n") == {
        "no": "x", "1": "y", "1e5": {"true": "z"},
    }  # fmt: skip


def test_merged_values_are_overridden(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"
    assert read(tmp_path, text)["b"] == {"x": 1, "y": 3}


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3: duplicate name "a"'),
        ("x:\n  a: 1\n  'a': 3\n", 'line 3: duplicate name "a"'),
        ("a: 1\nb: &b [1, *b]\n", "line 2: aliases"),
        (BOMB, r"line \d+: aliases"),
        ("? [a]\n: 1\n", "line 1: expected lines"),
        ("- a\n", "expected names"),
        ("", "expected names"),
        ("a: " + "[" * 2000, "nested too deep"),
        ("a: !!timestamp 2024-13-45\n", "not a YAML file: month"),
        ("a: b: c\n", "not a YAML file"),
        ("a: !!python/name:os.system x\n", "not a YAML file: could not determine a constructor"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, text)
    assert "c.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("0123456789eE.+-_:~<= ")
)  # fmt: skip


@settings(
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.text("abc0", min_size=1), scalars | st.lists(scalars)))
def test_written_values_come_back_in_both_versions_of_yaml(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    text = render_yaml(values)
    assert read(tmp_path, text) == values
    if not any(isinstance(each, float) for each in values.values()):
        assert {str(name): value for name, value in yaml.safe_load(text).items()} == values
