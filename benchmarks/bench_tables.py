"""The tables of the loss bench in docs/comparison.md, from the files in results/bench."""

from benchmarks.bench import load
from benchmarks.output import markdown_table
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.workflows.comparison.ranking import judge_differences, rank_methods, tally_differences
from zlpr_hf.workflows.comparison.results import Comparison, Row
from zlpr_hf.workflows.comparison.table import METRIC_TITLES, SUMMARY_METRICS

RULES = {"own": "own rule", "global": "tuned offset"}
RIVALS = (("bce", "own"), ("bce", "global"))
"""Methods beside ZLPR at zero in the first table."""
IN_VARIANTS = (
    ("zlpr", "own"), ("zlpr", "global"), ("bce without search", "own"), ("bce", "own"),
    ("bce", "global"), ("hill", "own"), ("splc", "own"), ("asymmetric", "own"), ("powerset", "own"),
)  # fmt: skip
MINUS = "\N{MINUS SIGN}"
MARKS = {"better": "▲", "worse": "▼"}


def _row(comparison: Comparison, dataset: str, loss: str, rule: str) -> Row:
    return next(row for row in comparison.rows_of(dataset) if (row.loss, row.rule) == (loss, rule))


def _triple(row: Row) -> str:
    return " / ".join(f"{row.mean[metric]:.3f}" for metric in SUMMARY_METRICS)


def _interval(difference: Difference, relation: str) -> str:
    """Return minus the difference from ZLPR, bold if it is clear after the correction."""
    text = f"{-difference.difference:+.3f}"
    if difference.ends is not None:
        low, high = difference.ends
        text += f" ({-high:+.3f} to {-low:+.3f})"
    text = text.replace("-", MINUS)
    return f"**{text}**" if relation in ("better", "worse") else text


def _judged(comparison: Comparison, dataset: str, metric: str) -> dict[tuple[str, str], str]:
    """Return the relation of each method to ZLPR at zero, corrected for their number."""
    return judge_differences(
        {
            (row.loss, row.rule): row.difference[metric]
            for row in comparison.rows_of(dataset)
            if row.difference is not None
        }
    )


def claim(plan: str = "frozen") -> str:
    """ZLPR at zero beside BCE with all its tuning, and the differences with intervals."""
    comparison = load(plan)
    rows = []
    for dataset in comparison.datasets:
        for place, (loss, rule) in enumerate(RIVALS):
            other = _row(comparison, dataset, loss, rule)
            cells = [
                _interval(
                    other.difference[metric], _judged(comparison, dataset, metric)[loss, rule]
                )
                for metric in SUMMARY_METRICS
                if other.difference is not None
            ]
            zlpr = _row(comparison, dataset, "zlpr", "own")
            first = [dataset, _triple(zlpr)] if place == 0 else ["", ""]
            rows.append([*first, RULES[rule], _triple(other), *cells])
    titles = [METRIC_TITLES[metric] for metric in SUMMARY_METRICS]
    return markdown_table(["dataset", "ZLPR at 0", "BCE", "its metrics", *titles], rows)


def ranks() -> str:
    """Average ranks of all methods, and how often each beats ZLPR at zero in micro-F1."""
    comparison = load("frozen")
    found = {
        metric: rank_methods(comparison, metric, rules=tuple(RULES)) for metric in SUMMARY_METRICS
    }
    tallies = tally_differences(comparison, "f1_micro")
    means: dict[tuple[str, str], list[float]] = {}
    for ranking in found.values():
        if ranking is None:
            raise ValueError("the bench has too few datasets for ranks")
        for key, rank in ranking.ranks.items():
            means.setdefault(key, []).append(rank)
    rows = []
    for (loss, rule), values in sorted(means.items(), key=lambda each: sum(each[1])):
        tally = tallies.get((loss, rule))
        counts = f"{tally.better} / {tally.level} / {tally.worse}" if tally else ""
        rows.append([f"`{loss}`", RULES[rule], *(f"{value:.1f}" for value in values), counts])
    titles = [METRIC_TITLES[metric] for metric in SUMMARY_METRICS]
    return markdown_table(["loss", "rule", *titles, "better / level / worse"], rows)


def critical_difference() -> str:
    """The difference of average ranks that is not chance, in a sentence."""
    ranking = rank_methods(load("frozen"), "f1_micro", rules=tuple(RULES))
    if ranking is None:
        raise ValueError("the bench has too few datasets for ranks")
    return (
        f"{len(ranking.ranks)} methods, {ranking.datasets} datasets: ranks that differ by less "
        f"than {ranking.critical_difference:.1f} are not told apart (Nemenyi, 5 %)."
    )


def variants() -> str:
    """Micro-F1 on each variant, marked where it differs from that of ZLPR at zero."""
    comparison = load("variants")
    rows = []
    for dataset in comparison.datasets:
        judged = _judged(comparison, dataset, "f1_micro")
        cells = []
        for loss, rule in IN_VARIANTS:
            mark = MARKS.get(judged.get((loss, rule), ""), "")
            value = _row(comparison, dataset, loss, rule).mean["f1_micro"]
            cells.append(f"{value:.3f} {mark}".strip())
        rows.append([dataset, *cells])
    titles = [f"`{loss}`" + ", offset" * (rule == "global") for loss, rule in IN_VARIANTS]
    return markdown_table(["variant", *titles], rows)


BLOCKS = {
    "bench_claim": claim,
    "bench_claim_finetuned": lambda: claim("finetuned"),
    "bench_ranks": ranks,
    "bench_critical_difference": critical_difference,
    "bench_variants": variants,
}
