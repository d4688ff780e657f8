"""How the benchmarks save their numbers and figures, and print tables."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

MADE_DATA = Path(__file__).parents[1] / "results" / "made_data"
RESULTS = Path(__file__).parent / "results"


def save(
    name: str, found: dict[str, Any], *, folder: Path = RESULTS, file: str | None = None
) -> None:
    """Write numbers as JSON, with the command, versions, threads and machine."""
    about = {
        "command": f"python -m benchmarks.{name}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    machine = {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
    }
    text = json.dumps({"about": about, "machine": machine, **found}, indent=1)
    folder.mkdir(exist_ok=True)
    (folder / f"{file or name}.json").write_text(text + "\n", encoding="utf-8")


def _cpu() -> str:
    """Return the name of the processor, if the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


def save_figure(name: str, figure: Any, *, folder: Path = MADE_DATA) -> None:
    """Write a figure as SVG, the same bytes for the same numbers."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "zlpr_hf"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def markdown_table(columns: list[str], rows: list[list[str]], *, texts: int = 1) -> str:
    """Return a Markdown table: the first columns hold text, the others numbers on the right."""
    rule = ["---"] * texts + ["---:"] * (len(columns) - texts)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, rule, *rows])
