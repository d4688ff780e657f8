"""A comparison as Markdown, for the terminal and for a repository."""

from __future__ import annotations

from zlpr_hf.workflows.comparison.results import Comparison, Row
from zlpr_hf.workflows.comparison.statistics import GROUPS, PAIRED_METRICS

TABLE_FILE = "comparison.md"
RULE_NAMES = {"own": "own rule", "global": "one tuned offset", "per_label": "an offset a label"}
METRIC_TITLES = {
    "f1_micro": "micro-F1", "f1_macro": "macro-F1", "f1_samples": "samples-F1",
    "subset_accuracy": "subset accuracy", "hamming_loss": "Hamming loss", "lrap": "LRAP",
}  # fmt: skip
EXPLANATION = """\
Test rows; mean over {seeds} of training ± standard deviation over them. *Own rule* is zero; for
`lsep` and `bp_mll`, which have none, one offset fitted on validation. Tuned offsets maximise
{metric} on validation. Head, middle and tail are the labels by frequency in training, a third each:
their macro-F1. Differences are from `{reference}` under its own rule, with the 95 % interval of a
paired bootstrap over test rows, **bold** where it excludes zero; of a hundred such intervals about
five exclude it by chance. Offsets for `powerset` are for study: no saved model can carry them. Peak
memory on a processor is that of the whole process, with what earlier runs left."""


def render_comparison(comparison: Comparison, *, threshold_metric: str) -> str:
    """All tables.

    Args:
        comparison: The numbers.
        threshold_metric: What tuned offsets maximise.

    Returns:
        Markdown: per data set a table of quality and one of cost.
    """
    seeds = max(len(row.seeds) for row in comparison.rows)
    parts = [
        "# Comparison of losses",
        EXPLANATION.format(
            seeds="one seed" if seeds == 1 else f"{seeds} seeds",
            metric=METRIC_TITLES[threshold_metric],
            reference=comparison.reference,
        ),
    ]
    for dataset in comparison.datasets:
        counts = comparison.data[dataset]
        parts += [
            f"## {dataset}",
            f"{counts['train']:,} training, {counts['validation']:,} validation and "
            f"{counts['test']:,} test rows, {counts['labels']} labels; "
            f"{comparison.unseen[dataset]:.1%} of the test rows have a label set that no training "
            "row has.",
            _quality(comparison, dataset),
            _differences(comparison, dataset),
            _cost(comparison, dataset),
        ]
    if comparison.failed:
        parts += ["## Failed", *(f"* {cell}: {why}" for cell, why in comparison.failed.items())]
    about = ", ".join(f"{name} {value}" for name, value in comparison.environment.items())
    return "\n\n".join(part for part in [*parts, f"Made on: {about}."] if part) + "\n"


def _quality(comparison: Comparison, dataset: str) -> str:
    columns = comparison.metrics
    head = [
        "loss",
        "rule",
        *(METRIC_TITLES.get(name, name) for name in columns),
        "head / middle / tail",
    ]
    lines = [head, ["---"] * len(head)]
    for name, metrics in comparison.baselines[dataset].items():
        cells = [f"{metrics[c]:.3f}" if c in metrics else "" for c in columns]
        lines.append([name, "", *cells, ""])
    for row in comparison.rows_of(dataset):
        cells = [_mean_and_spread(row, name) for name in columns]
        groups = " / ".join(f"{row.mean[f'f1_macro_{group}']:.3f}" for group in GROUPS)
        fewer = len(row.seeds) < max(len(other.seeds) for other in comparison.rows)
        loss = f"{row.loss} (seeds {', '.join(map(str, row.seeds))})" if fewer else row.loss
        lines.append([loss, RULE_NAMES[row.rule], *cells, groups])
    return _markdown(lines)


def _mean_and_spread(row: Row, metric: str) -> str:
    if metric not in row.mean:  # a ranking metric where no row could be ranked
        return ""
    return f"{row.mean[metric]:.3f}" + ("" if row.std is None else f" ± {row.std[metric]:.3f}")


def _differences(comparison: Comparison, dataset: str) -> str:
    lines = [
        [
            f"difference from {comparison.reference}",
            "rule",
            *(METRIC_TITLES[name] for name in PAIRED_METRICS),
        ]
    ]
    lines.append(["---"] * len(lines[0]))
    for row in comparison.rows_of(dataset):
        if row.difference is None:
            continue
        cells = []
        for interval in (row.difference[name] for name in PAIRED_METRICS):
            text = f"{interval.difference:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
            cells.append(f"**{text}**" if interval.is_clear else text)
        lines.append([row.loss, RULE_NAMES[row.rule], *cells])
    return _markdown(lines) if len(lines) > 2 else ""


def _cost(comparison: Comparison, dataset: str) -> str:
    lines = [["loss", "outputs", "time per step", f"relative to {comparison.reference}",
              "peak memory", "training"]]  # fmt: skip
    lines.append(["---", *["---:"] * 5])
    costs = comparison.cost[dataset]
    base = costs.get(comparison.reference, {}).get("seconds_per_step")
    for loss, cost in costs.items():
        step, memory, seconds = (
            cost["seconds_per_step"], cost["peak_memory_mib"], cost["seconds"],
        )  # fmt: skip
        lines.append([
            loss,
            f"{cost['outputs']:,.0f}",
            "" if step is None else f"{1000 * step:,.0f} ms",
            "" if step is None or not base else f"{step / base:.2f}",
            "" if memory is None else f"{memory:,.0f} MiB",
            "" if seconds is None else f"{seconds / 60:.1f} min",
        ])  # fmt: skip
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
