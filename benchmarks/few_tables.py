"""The table and the picture of docs/few_texts.md, from the results of benchmarks.few_texts.

Run: python -m benchmarks.few_tables      (draws the picture)
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.defaults import TASKS
from benchmarks.output import RESULTS, markdown_table, save_figure

METRICS = {"f1_micro": "micro-F1", "f1_macro": "macro-F1", "subset_accuracy": "exact match"}
ROWS = {
    "zlpr": "`zlpr train`",
    "zlpr_oracle": "`zlpr train`, threshold of the test split",
    "setfit_oracle": "SetFit, threshold of the test split",
    "setfit_balanced": "SetFit, balanced weights",
    "setfit_default": "SetFit",
    "embeddings": "logistic regression on embeddings",
    "svm": "linear SVM on TF-IDF",
}
SHOWN = 8
"""Texts per label in the picture."""


def read_means() -> list[dict[str, Any]]:
    """Return the stored means: one entry per dataset, number of texts and row."""
    stored = json.loads((RESULTS / "few_texts.json").read_text(encoding="utf-8"))
    means: list[dict[str, Any]] = stored["means"]
    order = list(ROWS)
    return sorted(
        means, key=lambda each: (each["dataset"], each["per_label"], order.index(each["row"]))
    )


def table() -> str:
    """Quality and processor seconds per dataset, number of texts and method."""
    rows, last = [], ""
    for each in read_means():
        title = TASKS[each["dataset"]].title.partition(",")[0]
        sample = f"{title}, {each['per_label']} per label ({each['texts']:.0f} texts)"
        values = [_with_interval(each[metric]) for metric in METRICS]
        seconds = f"{each['seconds']['mean']:,.0f}"
        first = "" if sample == last else sample
        rows.append([first, ROWS[each["row"]], *values, seconds, str(each["seeds"])])
        last = sample
    columns = ["dataset", "method", *METRICS.values(), "seconds", "seeds"]
    return markdown_table(columns, rows, texts=2)


def _with_interval(value: dict[str, float | None]) -> str:
    half = value["half_width"]
    return f"{value['mean']:.3f}" + ("" if half is None else f" ± {half:.3f}")


def draw() -> None:
    """Draw macro-F1 over seconds, one plot per dataset."""
    from matplotlib.figure import Figure

    means = [each for each in read_means() if each["per_label"] == SHOWN]
    names = list(dict.fromkeys(each["dataset"] for each in means))
    figure = Figure(figsize=(3 * len(names), 3.4), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        for number, (row, title) in enumerate(ROWS.items()):
            for each in means:
                if (each["dataset"], each["row"]) == (name, row):
                    axis.errorbar(
                        each["seconds"]["mean"],
                        each["f1_macro"]["mean"],
                        each["f1_macro"]["half_width"],
                        fmt="o",
                        color=f"C{number}",
                        label=title.replace("`", ""),
                    )
        axis.set(xscale="log", xlabel="seconds", title=TASKS[name].title.partition(",")[0])
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("macro-F1")
    handles, labels = max(
        (axis.get_legend_handles_labels() for axis in axes), key=lambda x: len(x[1])
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save_figure("few_texts", figure, folder=Path(__file__).parents[1] / "docs")


BLOCKS = {"few_texts": table}

if __name__ == "__main__":
    draw()
