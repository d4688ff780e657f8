"""Where the experiments on made data write."""

import json
import platform
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parents[1] / "results" / "made_data"


def save(name: str, found: dict[str, Any]) -> None:
    """Numbers as JSON, with versions and threads."""
    about = {
        "command": f"python -m benchmarks.{name}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    text = json.dumps({"about": about, **found}, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def save_figure(name: str, figure: Any) -> None:
    """A picture as SVG, the same bytes for the same numbers."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "zlpr_hf"}):
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
