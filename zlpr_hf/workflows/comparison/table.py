"""A comparison as Markdown for its folder, and as a summary for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS
from zlpr_hf.reports.report import align_columns
from zlpr_hf.workflows.comparison.ranking import (
    judge_differences,
    rank_methods,
    tally_differences,
)
from zlpr_hf.workflows.comparison.results import Comparison, Row
from zlpr_hf.workflows.comparison.statistics import GROUPS

TABLE_FILE = "comparison.md"
RULE_NAMES = {
    "own": "own rule", "global": "one tuned offset", "per_label": "one tuned offset per label",
}  # fmt: skip
METRIC_TITLES = {
    "f1_micro": "micro-F1", "f1_macro": "macro-F1", "f1_samples": "samples-F1",
    "subset_accuracy": "exact match", "hamming_loss": "Hamming loss", "lrap": "LRAP",
}  # fmt: skip
SUMMARY_METRICS = ("f1_micro", "f1_macro", "subset_accuracy")
EXPLANATION = """\
Metrics on the test rows: mean over {seeds} of training ± standard deviation over them. The *own
rule* of a loss is zero; a ranking loss has none and gets one offset fitted on validation.
Tuned offsets maximise {metric} on validation. {tier}Head, middle and tail: macro-F1 of the labels
by frequency in training, a third each. Differences are from `{reference}` with its own rule, with
the 95 % interval of a paired bootstrap over test rows{seeds_too}, **bold** if it excludes zero;
about five of a hundred such intervals do so by chance. An asterisk marks those that stay clear
after Holm's correction for the number of differences on the dataset. No interval is given for
macro-F1 if a label has fewer than 10 test rows, and for any metric if the decisions differ in fewer
rows. Offsets for `powerset` are for study: a saved model cannot carry them. Peak memory on a CPU is
that of the whole process, including earlier runs."""
FROZEN = """\
The encoder is *frozen*: each loss trains a linear head on the same features, and has a search of
its own, with the same number of trials, over learning rate, weight decay and its hyper-parameters;
the best trial on validation is chosen for the own rule and for tuned offsets apart. Each seed
trains on another draw of the training rows. """
SEARCH = """\
Each loss has a *search* of its own, with {trials} trials for each dataset on the first seed, over
the learning rate ({low:g} to {high:g}) and its hyper-parameters{ranges}. The first trial has the
defaults of the loss. The trial with the highest mean of micro-F1 and macro-F1 on validation, at the
own rule, sets rate and hyper-parameters of all seeds. """


def render_comparison(comparison: Comparison, *, threshold_metric: str) -> str:
    """Return all tables as Markdown: quality, differences and cost per dataset."""
    seeds = max(len(row.seeds) for row in comparison.rows)
    parts = [
        "# Comparison of losses",
        EXPLANATION.format(
            seeds="one seed" if seeds == 1 else f"{seeds} seeds",
            metric=METRIC_TITLES[threshold_metric],
            reference=comparison.reference,
            tier=_describe_tier(comparison),
            seeds_too=" and seeds" if comparison.resamples_seeds else "",
        ),
        *_render_ranks(comparison),
    ]
    for dataset in comparison.datasets:
        parts += [
            f"## {dataset}",
            f"{_describe_data(comparison, dataset)}. {comparison.unseen[dataset]:.1%} of the test "
            "rows have a label set that is not in training.",
            _markdown(_quality(comparison, dataset)),
            _markdown(_differences(comparison, dataset)),
            "\n".join(_missing_intervals(comparison, dataset)),
            _markdown(_chosen(comparison, dataset), texts=2),
            _markdown(_cost(comparison, dataset), texts=1),
        ]
    if comparison.failed:
        parts += ["## Failed", *(f"* {cell}: {why}" for cell, why in comparison.failed.items())]
    about = ", ".join(f"{name} {value}" for name, value in comparison.environment.items())
    return "\n\n".join(part for part in [*parts, f"Made on: {about}."] if part) + "\n"


def _describe_tier(comparison: Comparison) -> str:
    if comparison.search is None:
        return FROZEN if comparison.frozen else ""
    ranges = [
        f"{loss}: " + ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in each.items())
        for loss, each in comparison.search.ranges.items()
        if each
    ]
    low, high = comparison.search.learning_rate
    return SEARCH.format(
        trials=comparison.search.trials,
        low=low,
        high=high,
        ranges=f" ({'; '.join(ranges)})" if ranges else "",
    )


def _render_ranks(comparison: Comparison) -> Iterable[str]:
    """Yield average ranks and tallies over the datasets, if there are enough of them."""
    for metric in SUMMARY_METRICS:
        ranking = rank_methods(comparison, metric, rules=("own", "global"))
        if ranking is None:
            return
        tallies = tally_differences(comparison, metric)
        rows = [[METRIC_TITLES[metric], "rule", "average rank", "better", "level", "worse", "?"]]
        for (loss, rule), rank in ranking.ranks.items():
            tally = tallies.get((loss, rule))
            counts = (tally.better, tally.level, tally.worse, tally.unknown) if tally else ()
            rows.append([loss, RULE_NAMES[rule], f"{rank:.2f}", *map(str, counts or [""] * 4)])
        yield (
            f"{_markdown(rows)}\n\nAverage rank over {ranking.datasets} datasets, 1 for the best; "
            f"ranks that differ by less than {ranking.critical_difference:.2f} are not told apart "
            f"(Nemenyi, 5 %; Friedman p = {ranking.p_value:.2g}). Better, level and worse count "
            f"the datasets where {METRIC_TITLES[metric]} differs from `{comparison.reference}` at "
            "zero after Holm's correction; ? those without an interval."
        )


def render_summary(comparison: Comparison) -> str:
    """Return the main metrics as tables for the terminal, at most 80 columns wide."""
    parts = []
    for dataset in comparison.datasets:
        rows = [[dataset, "rule", *(METRIC_TITLES[name] for name in SUMMARY_METRICS)]]
        for row in comparison.rows_of(dataset):
            cells = (_summarise(row, name) for name in SUMMARY_METRICS)
            rows.append([row.loss, row.rule, *cells])
        below = [_describe_data(comparison, dataset), *_missing_intervals(comparison, dataset)]
        parts.append("\n".join([align_columns(rows, left=2), *below]))
    parts.append(f"* the 95 % interval of the difference from {comparison.reference} excludes zero")
    parts += [f"failed: {cell}: {why}" for cell, why in comparison.failed.items()]
    return "\n\n".join(parts)


def _summarise(row: Row, metric: str) -> str:
    clear = row.difference is not None and row.difference[metric].is_clear
    return f"{row.mean[metric]:.3f}{'*' if clear else ' '}"


def _describe_data(comparison: Comparison, dataset: str) -> str:
    counts = comparison.data[dataset]
    return (
        f"{counts['train']:,} training, {counts['validation']:,} validation and "
        f"{counts['test']:,} test rows, {counts['labels']} labels"
    )


def _quality(comparison: Comparison, dataset: str) -> Iterable[list[str]]:
    columns = comparison.metrics
    titles = (METRIC_TITLES.get(name, name) for name in columns)
    yield ["loss", "rule", *titles, "head / middle / tail"]
    for name, metrics in comparison.baselines.get(dataset, {}).items():
        yield [name, "", *(f"{metrics[c]:.3f}" if c in metrics else "" for c in columns), ""]
    seeds = max(len(row.seeds) for row in comparison.rows)
    for row in comparison.rows_of(dataset):
        fewer = f" (seeds {', '.join(map(str, row.seeds))})" if len(row.seeds) < seeds else ""
        cells = (_mean_and_spread(row, name) for name in columns)
        means = [row.mean.get(f"f1_macro_{group}") for group in GROUPS]
        groups = " / ".join("-" if mean is None else f"{mean:.3f}" for mean in means)
        yield [row.loss + fewer, RULE_NAMES[row.rule], *cells, groups]


def _mean_and_spread(row: Row, metric: str) -> str:
    if metric not in row.mean:  # a ranking metric without a row to rank
        return ""
    return f"{row.mean[metric]:.3f}" + ("" if row.std is None else f" ± {row.std[metric]:.3f}")


def _differences(comparison: Comparison, dataset: str) -> Iterable[list[str]]:
    rows = [row for row in comparison.rows_of(dataset) if row.difference is not None]
    if rows:
        titles = (METRIC_TITLES[name] for name in PAIRED_METRICS)
        yield [f"difference from {comparison.reference}", "rule", *titles]
    judged = {
        name: judge_differences(
            {(row.loss, row.rule): row.difference[name] for row in rows if row.difference}
        )
        for name in PAIRED_METRICS
    }
    for row in rows:
        cells = []
        for name in PAIRED_METRICS:
            interval = (row.difference or {})[name]
            text = f"{interval.difference:+.3f}"
            if interval.ends is not None:
                text += " ({:+.3f} to {:+.3f})".format(*interval.ends)
            mark = "\\*" if judged[name][row.loss, row.rule] in ("better", "worse") else ""
            cells.append(f"**{text}**{mark}" if interval.is_clear else text)
        yield [row.loss, RULE_NAMES[row.rule], *cells]


def _missing_intervals(comparison: Comparison, dataset: str) -> list[str]:
    """Return one line per metric and reason for which a difference has no interval."""
    reasons = {
        f"{METRIC_TITLES[name]}: no interval, {interval.missing}"
        for row in comparison.rows_of(dataset)
        for name, interval in (row.difference or {}).items()
        if interval.missing
    }
    return sorted(reasons)


def _chosen(comparison: Comparison, dataset: str) -> Iterable[list[str]]:
    if comparison.search is None:
        return
    yield ["loss", "best setting on validation", "validation", "trial", "trials"]
    for loss, results in comparison.search.results.get(dataset, {}).items():
        best = comparison.search.best(dataset, loss)
        finished = sum(each.validation is not None for each in results)
        count = f"{len(results)}" if finished == len(results) else f"{finished} of {len(results)}"
        if best is None:
            yield [loss, "all failed", "", "", count]
        else:
            yield [loss, str(best), f"{best.validation:.3f}", f"{best.trial}", count]


def _cost(comparison: Comparison, dataset: str) -> Iterable[list[str]]:
    relative = f"relative to {comparison.reference}"
    yield ["loss", "outputs", "time per step", relative, "peak memory", "training"]
    costs = comparison.cost[dataset]
    base = costs.get(comparison.reference, {}).get("seconds_per_step")
    for loss, cost in costs.items():
        step, memory, seconds = (
            cost[name] for name in ("seconds_per_step", "peak_memory_mib", "seconds")
        )
        yield [
            loss,
            f"{cost['outputs']:,.0f}",
            "" if step is None else f"{1000 * step:,.0f} ms",
            "" if step is None or not base else f"{step / base:.2f}",
            "" if memory is None else f"{memory:,.0f} MiB",
            "" if seconds is None else f"{seconds / 60:.1f} min",
        ]


def _markdown(rows: Iterable[list[str]], *, texts: int = 2) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    if lines:
        columns = lines[0].count(" | ") + 1
        lines.insert(1, f"| {' | '.join(['---'] * texts + ['---:'] * (columns - texts))} |")
    return "\n".join(lines)
