"""The tables and pictures of docs/few_texts.md, from the results of benchmarks.few_texts.

Run: python -m benchmarks.few_tables      (draws the pictures)
"""

import json
from collections.abc import Callable
from operator import itemgetter
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
COMPARED = 8
"""Texts per label at which the datasets are compared."""
GROWING = "go_emotions"
"""Dataset whose samples grow."""
DOCS = Path(__file__).parents[1] / "docs"


def read_means() -> list[dict[str, Any]]:
    """Return the stored means: one entry per dataset, number of texts and row."""
    stored = json.loads((RESULTS / "few_texts.json").read_text(encoding="utf-8"))
    means: list[dict[str, Any]] = stored["means"]
    order = list(ROWS)
    return sorted(
        means, key=lambda each: (each["dataset"], each["per_label"], order.index(each["row"]))
    )


def compared() -> list[dict[str, Any]]:
    """Return the means at the number of texts at which the datasets are compared."""
    return [each for each in read_means() if each["per_label"] == COMPARED]


def growing() -> list[dict[str, Any]]:
    """Return the means of the dataset whose samples grow."""
    return [each for each in read_means() if each["dataset"] == GROWING]


def table() -> str:
    """Quality and processor seconds per dataset and method."""
    return _table(compared())


def growing_table() -> str:
    """Quality and processor seconds per number of texts and method, for one dataset."""
    return _table(growing())


def _table(means: list[dict[str, Any]]) -> str:
    rows, last = [], ("", 0)
    for each in means:
        sample = (_title(each["dataset"]), each["per_label"])
        title = f"{sample[0]}, {sample[1]} per label ({each['texts']:,.0f} texts)"
        values = [_with_interval(each[metric]) for metric in METRICS]
        seconds = f"{each['seconds']['mean']:,.0f}"
        first = "" if sample == last else title
        rows.append([first, ROWS[each["row"]], *values, seconds, str(each["seeds"])])
        last = sample
    columns = ["dataset", "method", *METRICS.values(), "seconds", "seeds"]
    return markdown_table(columns, rows, texts=2)


def _with_interval(value: dict[str, float | None]) -> str:
    half = value["half_width"]
    return f"{value['mean']:.3f}" + ("" if half is None else f" ± {half:.3f}")


def _title(dataset: str) -> str:
    return TASKS[dataset].title.partition(",")[0]


def draw() -> None:
    """Draw macro-F1 over seconds, one plot per dataset."""
    from matplotlib.figure import Figure

    means = compared()
    names = list(dict.fromkeys(each["dataset"] for each in means))
    figure = Figure(figsize=(3 * len(names), 3.4), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        found = [each for each in means if each["dataset"] == name]
        _draw_rows(axis, found, "f1_macro", lambda each: each["seconds"]["mean"])
        axis.set(xscale="log", xlabel="seconds", title=_title(name))
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("macro-F1")
    _add_legend(figure, axes)
    save_figure("few_texts", figure, folder=DOCS)


def draw_growing() -> None:
    """Draw micro-F1, macro-F1 and exact match over the texts per label of one dataset."""
    from matplotlib.figure import Figure

    means = growing()
    figure = Figure(figsize=(3 * len(METRICS), 3.4), layout="constrained")
    axes = figure.subplots(1, len(METRICS), squeeze=False)[0]
    sizes = sorted({each["per_label"] for each in means})
    for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
        _draw_rows(axis, means, metric, itemgetter("per_label"))
        axis.set(xscale="log", xlabel="texts per label", title=title)
        axis.set_xticks(sizes, map(str, sizes))
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
    _add_legend(figure, axes)
    save_figure("few_texts_growing", figure, folder=DOCS)


def _draw_rows(
    axis: Any, means: list[dict[str, Any]], metric: str, over: Callable[[dict[str, Any]], float]
) -> None:
    """Draw one line per method with the intervals of a metric."""
    for number, (row, title) in enumerate(ROWS.items()):
        found = [each for each in means if each["row"] == row]
        if found:
            axis.errorbar(
                [over(each) for each in found],
                [each[metric]["mean"] for each in found],
                [each[metric]["half_width"] or 0.0 for each in found],
                fmt="o-" if len(found) > 1 else "o",
                color=f"C{number}",
                label=title.replace("`", ""),
            )


def _add_legend(figure: Any, axes: Any) -> None:
    handles, labels = max(
        (axis.get_legend_handles_labels() for axis in axes), key=lambda x: len(x[1])
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


BLOCKS = {"few_texts": table, "few_texts_growing": growing_table}

if __name__ == "__main__":
    draw()
    draw_growing()
