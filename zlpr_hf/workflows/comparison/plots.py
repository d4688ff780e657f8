"""Plots of a comparison: differences with their intervals, and groups of labels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import whole_file
from zlpr_hf.workflows.comparison.ranking import Ranking, rank_methods
from zlpr_hf.workflows.comparison.results import Comparison, Row
from zlpr_hf.workflows.comparison.statistics import GROUPS
from zlpr_hf.workflows.comparison.table import METRIC_TITLES, RULE_NAMES, SUMMARY_METRICS

COLOURS = {"own": "#1f5fa8", "global": "#e08a1e", "per_label": "#6a9c5b"}
STYLE: Any = {
    "svg.hashsalt": "zlpr_hf", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
SHADES = ("#1f5fa8", "#7aa6d6", "#cfdff0")


def check_plots() -> None:
    """Raise an InputError before the first run if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError('plots need matplotlib: pip install "zlpr_hf[plots]", or add --no_plots')


def draw_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw all plots into a folder, and return the files."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        files = []
        for dataset in comparison.datasets:
            name = "".join(c if c.isalnum() else "_" for c in dataset.lower())
            rows = comparison.rows_of(dataset)
            if any(row.difference for row in rows):
                figure = _differences(comparison, dataset, rows)
                files.append(_save(figure, folder / f"differences-{name}.svg"))
            files.append(_save(_groups(dataset, rows), folder / f"groups-{name}.svg"))
    return [*files, *draw_ranks(comparison, folder)]


def draw_ranks(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw average ranks per metric into a folder; return the files, none for few datasets."""
    import matplotlib as mpl

    files = []
    with mpl.rc_context(STYLE):
        for metric in SUMMARY_METRICS:
            ranking = rank_methods(comparison, metric, rules=("own", "global"))
            if ranking is not None:
                files.append(_save(_ranks(ranking), folder / f"ranks-{metric}.svg"))
    return files


def _save(figure: Any, path: Path) -> Path:
    with whole_file(path) as part:
        figure.savefig(part, metadata={"Date": None})
    return path


def _differences(comparison: Comparison, dataset: str, rows: list[Row]) -> Any:
    from matplotlib.figure import Figure

    losses = list(dict.fromkeys(row.loss for row in rows))
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(losses)), layout="constrained")
    for axis, metric in zip(
        figure.subplots(1, len(SUMMARY_METRICS), sharey=True), SUMMARY_METRICS, strict=True
    ):
        axis.axvline(0, color="#888888", linewidth=0.8)
        for shift, rule in enumerate(RULE_NAMES):
            for row in rows:
                if row.rule != rule or row.difference is None:
                    continue
                interval = row.difference[metric]
                height = losses.index(row.loss) + 0.24 * (shift - 1)
                if interval.ends is not None:
                    axis.plot(interval.ends, [height] * 2, color=COLOURS[rule])
                axis.plot(interval.difference, height, "o", markersize=4, color=COLOURS[rule])
            axis.plot([], [], "o-", markersize=4, color=COLOURS[rule], label=RULE_NAMES[rule])
        axis.set_title(METRIC_TITLES[metric])
        axis.set_yticks(range(len(losses)), losses)
    figure.get_axes()[0].invert_yaxis()
    figure.supxlabel(
        f"difference from {comparison.reference} at zero on {dataset}, 95 % interval (line, if any)"
    )
    handles, labels = figure.get_axes()[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _groups(dataset: str, rows: list[Row]) -> Any:
    from matplotlib.figure import Figure

    own = [row for row in rows if row.rule == "own"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(own))
    for shift, (group, shade) in enumerate(zip(GROUPS, SHADES, strict=True)):
        name = f"f1_macro_{group}"
        if name not in own[0].mean:  # no test row knows a label of the group
            continue
        heights = [row.mean[name] for row in own]
        spread = [0.0 if row.std is None else row.std[name] for row in own]
        axis.bar(places + 0.27 * (shift - 1), heights, 0.25, yerr=spread, color=shade, label=group,
                 error_kw={"linewidth": 0.8})  # fmt: skip
    names = [row.loss for row in own]
    many = len(names) > 6
    axis.set_xticks(places, names, rotation=20 * many, ha="right" if many else "center")
    axis.set_ylabel("macro-F1")
    axis.set_title(f"{dataset}: labels by frequency in training, own rule")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _ranks(ranking: Ranking) -> Any:
    """Draw average ranks, best first, with the critical difference from the best one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.22 * len(ranking.ranks)), layout="constrained")
    axis = figure.subplots()
    best = min(ranking.ranks.values())
    axis.axvspan(best, best + ranking.critical_difference, color="#e8eef6", zorder=0)
    for height, ((_, rule), rank) in enumerate(ranking.ranks.items()):
        axis.plot(rank, height, "o", markersize=5, color=COLOURS[rule])
    names = [f"{loss}, {RULE_NAMES[rule]}" for loss, rule in ranking.ranks]
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel(
        f"average rank in {METRIC_TITLES[ranking.metric]} over {ranking.datasets} datasets "
        "(shaded: not told apart from the best)"
    )
    return figure
