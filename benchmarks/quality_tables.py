"""The tables of README.md and docs/comparison.md, from the files in results."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import coverage
from benchmarks.defaults import CHOSEN
from benchmarks.output import RESULTS, markdown_table
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.reports.report import MODEL_ROW, Report
from zlpr_hf.workflows.comparison.results import Comparison

RUNS = Path(__file__).parents[1] / "results"
FILES = {
    "ATT&CK": "quickstart-seed*.json",
    "CWE": "cwe.json",
    "Reuters-90": "reuters.json",
    "GoEmotions": "go_emotions.json",
}
RECIPES = {
    "quickstart": "ATT&CK",
    "cwe": "CWE",
    "reuters": "Reuters-90",
    "go_emotions": "GoEmotions",
}
COMPARED = {"GoEmotions": "go_emotions", "Reuters-90": "reuters", "CWE": "cwe"}
METRICS = {"f1_micro": "micro-F1", "f1_macro": "macro-F1", "subset_accuracy": "exact match"}
SVM_ROW = "TF-IDF + linear SVM"
RULES = {
    ("zlpr", "own"): "ZLPR",
    ("bce", "own"): "BCE",
    ("bce", "global"): "BCE, tuned offset",
    ("asymmetric", "own"): "ASL",
    ("powerset", "own"): "powerset",
    ("lsep", "own"): "LSEP",
}

NEEDS = (
    ("decisions at zero, nothing to tune; soft or unknown labels", "zlpr", ()),
    ("the whole label set must be right", "powerset", ("subset_accuracy", "f1_macro")),
    ("rare labels matter, extra labels are cheap", "asymmetric", ("f1_macro", "subset_accuracy")),
    ("only the order of labels matters", "lsep", ("f1_micro", "subset_accuracy")),
    ("you need the usual loss as a baseline", "bce", ("f1_micro", "f1_macro")),
)
"""Need, loss, and the metrics that show its price."""


def read_runs(name: str) -> list[dict[str, Any]]:
    """Return the stored runs on a dataset, one per seed."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RUNS.glob(FILES[name]))]


def load_comparison(name: str) -> Comparison:
    """Return the stored comparison of losses on a dataset."""
    return Comparison.load(RUNS / "compare" / COMPARED[name] / "comparison.json")


def results() -> str:
    """The linear SVM and ZLPR on each dataset: means over the stored seeds."""
    rows = []
    for name in FILES:
        runs = read_runs(name)
        seeds = f", mean of {len(runs)} seeds" if len(runs) > 1 else ""
        svm, zlpr = (
            [statistics.mean(run["test"][row][metric] for run in runs) for metric in METRICS]
            for row in (SVM_ROW, MODEL_ROW)
        )
        best = [max(pair) for pair in zip(svm, zlpr, strict=True)]
        rows.append([_size(name, runs) + seeds, "linear SVM", *_bold(svm, best), ""])
        rows.append(["", "ZLPR", *_bold(zlpr, best), _minutes(runs)])
    return markdown_table(["dataset", "model", *METRICS.values(), "minutes"], rows, texts=2)


def recipes() -> str:
    """The recipes that were run; each cell is micro-F1 / macro-F1 / exact match."""
    rows = []
    for recipe, name in RECIPES.items():
        runs = read_runs(name)
        seeds = ", ".join(str(run["training"]["seed"]) for run in runs)
        means = [
            [statistics.mean(run["test"][row][metric] for run in runs) for metric in METRICS]
            for row in (SVM_ROW, MODEL_ROW)
        ]
        cells = [" / ".join(f"{value:.3f}" for value in values) for values in means]
        rows.append([f"`{recipe}`", _size(name, runs), seeds, _minutes(runs), *cells])
    return markdown_table(
        ["recipe", "data", "seeds", "minutes", "linear SVM", "ZLPR"], rows, texts=3
    )


def defaults() -> str:
    """Defaults alone beside the SVM and the recipes tuned by hand; means over the seeds."""
    found = json.loads((RESULTS / "defaults.json").read_text(encoding="utf-8"))
    rows = []
    for task in found["tasks"].values():
        runs = task["runs"]
        svm, model = (
            [statistics.mean(values) for values in zip(*(run[key] for run in runs), strict=True)]
            for key in ("svm", "model")
        )
        best = [max(pair) for pair in zip(svm, model, strict=True)]
        seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
        rows.append(
            [
                f"{task['title']}: {runs[0]['rows']['train']:,} texts, {runs[0]['labels']} labels"
                + seeds,
                f"{statistics.mean(run['minutes'] for run in runs):.0f}",
                " / ".join(_bold(svm, best)),
                " / ".join(_bold(model, best)),
                " / ".join(f"{value:.3f}" for value in task["tuned"] or ()) or "none",
                f"{statistics.mean(run['ece'] for run in runs):.3f}",
            ]
        )
    columns = ["training data", "minutes", "linear SVM", "defaults", "tuned by hand", "ECE"]
    return markdown_table(columns, rows)


def chosen() -> str:
    """The values that the defaults chose for each dataset."""
    found = json.loads((RESULTS / "defaults.json").read_text(encoding="utf-8"))
    rows = []
    for task in found["tasks"].values():
        values = task["runs"][0]["chosen"]
        rows.append([task["title"], *(f"{values[option]:g}" for option in CHOSEN)])
    titles = ["learning rate", "batch size", "most epochs", "maximum length"]
    return markdown_table(["data", *titles], rows)


def zlpr_against_bce() -> str:
    """Paired differences of ZLPR, cut at zero, from BCE: at 0.5, and with a tuned offset."""
    rows = []
    for name in COMPARED:
        comparison = load_comparison(name)
        found = {(row.loss, row.rule): row for row in comparison.rows}
        counts, seeds = next(iter(comparison.data.values())), len(found["zlpr", "own"].seeds)
        size = f"{name} ({counts['train']:,} training texts, {seeds} seeds)"
        for rule, cut in (("own", "BCE at 0.5"), ("global", "BCE, tuned offset")):
            difference = found["bce", rule].difference
            assert difference is not None
            cells = [_reversed(difference[metric]) for metric in ("f1_micro", "f1_macro")]
            rows.append([size if rule == "own" else "", cut, *cells])
    return markdown_table(["dataset", "ZLPR at 0 against", "micro-F1", "macro-F1"], rows, texts=2)


def losses() -> str:
    """Six losses on three datasets; each cell is micro-F1 / macro-F1 / exact match."""
    columns, cells = ["loss"], [[title] for title in RULES.values()]
    for name in COMPARED:
        comparison = load_comparison(name)
        means = {(row.loss, row.rule): row.mean for row in comparison.rows}
        counts = next(iter(comparison.data.values()))
        columns.append(f"{name} ({counts['train']:,} training texts)")
        best = [max(means[rule][metric] for rule in RULES) for metric in METRICS]
        for row, rule in zip(cells, RULES, strict=True):
            row.append(" / ".join(_bold([means[rule][metric] for metric in METRICS], best)))
    return markdown_table(columns, cells)


def which_loss() -> str:
    """One row per need: the loss to take, and its differences from ZLPR at zero."""
    rows = []
    for need, loss, metrics in NEEDS:
        cells = [f"{METRICS[metric]} {_differences(loss, metric)}" for metric in metrics]
        rows.append([need, f"`--loss {loss}`", "; ".join(cells) or "the reference"])
    return markdown_table(["your data or metric", "loss", "measured price"], rows, texts=3)


def _differences(loss: str, metric: str) -> str:
    found = []
    for name in reversed(COMPARED):
        row = next(
            row for row in load_comparison(name).rows if (row.loss, row.rule) == (loss, "own")
        )
        assert row.difference is not None
        interval = row.difference[metric]
        text = f"{interval.difference:+.3f}".replace("-", "\N{MINUS SIGN}")
        found.append(f"**{text}**" if interval.is_clear else text)
    return " / ".join(found)


def tutorial_data() -> str:
    """The profile of the data that the tutorial's run prints."""
    return _printed(Report.load(RUNS / "tutorial.json").profile.render())


def tutorial_report() -> str:
    """The tables that the tutorial's run prints."""
    return _printed(Report.load(RUNS / "tutorial.json").render().partition("\n\ntrained")[0])


def _printed(text: str) -> str:
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(["```text", *lines, "```"])


def loss_time() -> str:
    """How long ZLPR takes in terms of torch's BCE, as a sentence."""
    found = json.loads((RESULTS / "loss.json").read_text(encoding="utf-8"))["results"]
    one, two = (
        [f"{found[threads][f'64 x {labels}']['zlpr']['ratio']:.2f}" for labels in (4000, 30000)]
        for threads in ("1 threads", "2 threads")
    )
    return (
        f"With 4,000 and 30,000 labels, ZLPR takes {one[0]} and {one[1]} times as long as torch's\n"
        f"BCE on one thread, {two[0]} and {two[1]} times as long on two."
    )


def interval_coverage() -> str:
    """How often intervals are given, and how often they hold the true value."""
    found = json.loads((RESULTS / "coverage.json").read_text(encoding="utf-8"))
    return coverage.render(found["populations"], found["draws"])


def _size(name: str, runs: list[dict[str, Any]]) -> str:
    texts = sum(split["rows"] for split in runs[0]["profile"]["splits"].values())
    return f"{name}: {texts:,} texts, {len(runs[0]['label_scores'])} labels"


def _minutes(runs: list[dict[str, Any]]) -> str:
    return f"{statistics.mean(run['training']['seconds'] for run in runs) / 60:.0f}"


def _bold(values: list[float], best: list[float]) -> list[str]:
    shown = [f"{value:.3f}" for value in values]
    return [
        f"**{text}**" if text == f"{top:.3f}" else text
        for text, top in zip(shown, best, strict=True)
    ]


def _reversed(interval: Difference) -> str:
    """Return a difference and its interval, if any, from the other side; bold without zero."""
    text = f"{-interval.difference:+.3f}"
    if interval.ends is not None:
        low, high = interval.ends
        text += f" ({-high:+.3f} to {-low:+.3f})"
    text = text.replace("-", "\N{MINUS SIGN}")
    return f"**{text}**" if interval.is_clear else text


BLOCKS = {
    "results": results,
    "recipes": recipes,
    "defaults": defaults,
    "chosen": chosen,
    "zlpr_against_bce": zlpr_against_bce,
    "losses": losses,
    "which_loss": which_loss,
    "tutorial_data": tutorial_data,
    "tutorial_report": tutorial_report,
    "loss_time": loss_time,
    "coverage": interval_coverage,
}
