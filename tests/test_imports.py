"""The cost of imports, and the rooms that may import from each other."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zlpr_hf
from zlpr_hf.cli.main import COMMANDS

PACKAGE = Path(zlpr_hf.__file__).parent

# Rooms and the rooms they may import from, from the ground up. A room is a folder of zlpr_hf or a
# file in it; imports within a room are free, all others must be listed.
TABLE = """
errors choices zlpr_config    :
files distributed             : errors
labels thresholds             : errors zlpr_config
losses                        : errors labels
metrics                       : choices labels thresholds
data                          : errors choices labels files
models                        : errors choices zlpr_config labels thresholds files
training inference            : GROUND losses metrics data models
reports                       : GROUND losses metrics data
workflows                     : GROUND losses metrics data models training inference reports
__init__                      : GROUND losses metrics data models training inference reports workflows
cli __main__                  : GROUND losses metrics data models training inference reports workflows __init__ cli
"""  # noqa: E501
GROUND = "errors choices zlpr_config files distributed labels thresholds"
MAY_IMPORT = {
    room: set(others.replace("GROUND", GROUND).split())
    for rooms, _, others in (line.partition(":") for line in TABLE.strip().splitlines())
    for room in rooms.split()
}


def room_of(module: str) -> str:
    return module.removeprefix("zlpr_hf").strip(".").partition(".")[0] or "__init__"


def imports_of(path: Path) -> set[str]:
    """Rooms that a file imports from, at any level of the code, but for type checking."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in guarded
        for alias in node.names
    }
    return {room_of(name) for name in found if name.partition(".")[0] == "zlpr_hf"}


def test_imports_follow_the_table() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    rooms = {
        path: room_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts)) for path in paths
    }
    assert set(rooms.values()) == set(MAY_IMPORT)
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in paths
        for room in sorted(imports_of(path) - {rooms[path]} - MAY_IMPORT[rooms[path]])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {
            room
            for room, others in MAY_IMPORT.items()
            if room not in done and others - {room} <= done
        }
        assert ready, set(MAY_IMPORT) - done
        done |= ready


def test_the_package_is_shallow() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert sum(path.is_file() for path in entries) <= 9
    assert sum(path.is_dir() for path in entries) <= 10


def test_no_test_imports_from_another_test() -> None:
    tests = Path(__file__).parent
    line = re.compile(r"^from tests\.(?:\w+\.)*(?:conftest|test_\w+) import", re.MULTILINE)
    assert not [path.name for path in tests.rglob("*.py") if line.search(path.read_text())]


HEAVY = "{'torch', 'transformers', 'datasets'}"


def test_importing_the_package_is_light() -> None:
    code = f"import sys, zlpr_hf; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        *([name, "--help"] for name in COMMANDS),
        ["train", "nowhere.yaml"],
        ["train", "--epochz", "3"],
        ["train", "--learning_rate", "fast"],
        ["train", "--output_dir", "pyproject.toml/run"],
        ["compare", "nowhere.yaml"],
        ["tune", "nowhere.yaml", "--trials", "1"],
        ["predict", "zlpr_hf/no/model"],
        ["reproduce", "nowhere"],
        ["predict", "model", "--input", "nowhere.csv"],
        ["predict", "./nowhere"],
        ["evaluate", "./nowhere"],
        ["evaluate", "model", "--resamples", "0"],
        ["demo", "model", "--port", "99999"],
    ],
)
def test_help_and_wrong_options_do_not_wait_for_torch(argv: list[str]) -> None:
    code = f"""
import sys
from zlpr_hf.cli.main import main
try:
    status = main({argv})
except SystemExit as end:
    status = end.code
assert status == {0 if "--help" in argv else 2}, status
assert not {HEAVY} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_of_train_waits_for_no_library_of_data() -> None:
    code = """
import sys
from zlpr_hf.cli.main import main
assert main(["train", "--help"]) == 0
assert not {"numpy", "pyarrow", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


TEXT_ROWS = "".join(f"the lamp number {i} came late\n" for i in range(9))
WRONG_FILES = {
    "missing.csv": None,
    "folder": None,
    "empty.csv": b"",
    "header.csv": b"text,labels\n",
    "binary.csv": bytes(range(256)) * 9,
    "image.png": b"\x89PNG",
    "sheet.xlsx": b"PK",
    "single.csv": b"text\n" + TEXT_ROWS.encode(),
    "unlabelled.csv": b"body,id\n" + TEXT_ROWS.replace("\n", ",7\n").encode(),
    "texts.txt": TEXT_ROWS.encode(),
    "broken.jsonl": b'{"text": 1\n',
    "broken.parquet": b"PAR1",
    "broken.csv.gz": b"no gzip",
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_training_on_a_wrong_file_does_not_wait_for_torch(name: str, tmp_path: Path) -> None:
    content = WRONG_FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif name == "folder":
        (tmp_path / name).mkdir()
    code = f"""
import sys
from zlpr_hf.cli.main import main
assert main(["train", {name!r}]) == 2
assert not {HEAVY} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert name in line
    assert not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name] * (name != "missing.csv")


@pytest.mark.parametrize("name", zlpr_hf.__all__)
def test_every_public_name_exists_and_has_an_example(name: str) -> None:
    value = getattr(zlpr_hf, name)
    assert name in dir(zlpr_hf)
    # A dictionary has no docstring: build_loss documents it.
    text = zlpr_hf.build_loss.__doc__ if name == "LOSSES" else value.__doc__
    # doctest runs the example in the module that defines the name.
    example = text.partition("    Example:\n")[2]
    assert ">>> " in example
    assert re.search(rf"\b{name}\b", example)
    assert "SKIP" not in example


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    found = {
        alias.asname: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    expected = {name: getattr(zlpr_hf, name) for name in zlpr_hf.__all__}
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert getattr(sys.modules[found[name]], name) is value


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'zlpr'"):
        _ = zlpr_hf.zlpr
