"""The table and the picture of speed against F1 in docs/speed.md, from benchmarks.speed_curve.

Run: python -m benchmarks.curve_tables      (draws the picture)
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.output import RESULTS, markdown_table, save_figure

STUDENT, EXACT = "student, ", "zlpr_hf, float32"
GOAL = 3.0
MARKS = "oDs^vP*X<>h"
COLOURS = ("black", *(f"C{number}" for number in range(10)))
HEIGHT = 0.05
"""Micro-F1 above and below the model in the picture."""


def read_results() -> dict[str, dict[str, Any]]:
    """Return the stored figures, one entry per way to run the model or its student.

    ``f1`` is the micro-F1 of the model on its whole test split, plus the difference that the way
    makes on the texts that were timed: these are too few for an F1 of their own.
    """
    stored = json.loads((RESULTS / "speed_curve.json").read_text(encoding="utf-8"))
    results: dict[str, dict[str, Any]] = stored["results"]
    for side, each in results.items():
        prefix, _ = split_title(side)
        whole = stored["test"][prefix or "model"]["f1_micro"]
        each["f1"] = whole + each["f1_micro"] - results[prefix + EXACT]["f1_micro"]
    return results


def split_title(side: str) -> tuple[str, str]:
    """Return the prefix that names a student, if any, and the way that it is run."""
    title = side.removeprefix(STUDENT)
    return side[: len(side) - len(title)], title


def table() -> str:
    """Speed, agreement and F1 of the model, and of its student in the last two columns."""
    results = read_results()
    rows = []
    for side, each in results.items():
        if side.startswith(STUDENT):
            continue
        cells = [f"{each['faster_by']:.2f}", f"{each['equal_label_sets']:.1%}", f"{each['f1']:.3f}"]
        student = results.get(STUDENT + side)
        if student:
            cells += [f"{student['faster_by']:.2f}", f"{student['f1']:.3f}"]
        else:
            cells += ["", ""]
        rows.append([side, *cells])
    columns = ["speed-up", "same label set", "micro-F1", "student: speed-up", "student: micro-F1"]
    return markdown_table(["", *columns], rows)


def draw() -> None:
    """Draw micro-F1 over the speed-up; open marks are the student's."""
    from matplotlib.figure import Figure

    results = read_results()
    titles = list(dict.fromkeys(split_title(side)[1] for side in results))
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.axvline(GOAL, color="0.8", linestyle="--")
    for side, each in results.items():
        prefix, title = split_title(side)
        number = titles.index(title)
        axis.plot(
            each["faster_by"],
            each["f1"],
            MARKS[number],
            color=COLOURS[number],
            fillstyle="none" if prefix else "full",
            label=None if prefix else title,
        )
    axis.set(xlabel="times as fast as the pipeline (open: student)", ylabel="micro-F1")
    axis.set_xlim(left=0)
    axis.set_ylim(results[EXACT]["f1"] - HEIGHT, results[EXACT]["f1"] + HEIGHT)
    figure.legend(loc="outside right upper", frameon=False)
    save_figure("speed_curve", figure, folder=Path(__file__).parents[1] / "docs")


BLOCKS = {"speed_curve": table}

if __name__ == "__main__":
    draw()
