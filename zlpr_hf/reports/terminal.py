"""The end of a run on a terminal: metrics beside the SVM, one sentence, and the weakest labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from zlpr_hf.metrics.paired_bootstrap import Difference, Relation
from zlpr_hf.reports.verdict import COMPARED, SVM_ROW, WeakLabel

if TYPE_CHECKING:
    from zlpr_hf.reports.report import Report

WIDTH = 80
MAX_WEAK = 3
BAR_CELLS = 10
MAX_LABEL_WIDTH = 24
RELATIONS: dict[Relation, str] = {
    "better": "better than", "level": "level with", "worse": "worse than",
}  # fmt: skip
STYLES: dict[Relation | None, str] = {
    "better": "green", "level": "yellow", "worse": "red", None: "",
}  # fmt: skip
WIDE_INTERVAL = 0.02
"""Half an interval, above which the sentence says that the test split is small."""


def render_plain(parts: Iterable[RenderableType], *, width: int = WIDTH) -> str:
    """Return what a console prints, without colours and without blanks at the ends of lines."""
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    for part in parts:
        console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def report_parts(report: Report, *, ascii_only: bool = False) -> list[RenderableType]:
    """Return the parts of a report for the terminal, in their order."""
    parts: list[RenderableType] = [_result_table(report)]
    parts += _summary(report.differences, report.profile.tested().rows)
    if report.weak_labels:
        parts += ["", _weak_table(report.weak_labels[:MAX_WEAK], ascii_only=ascii_only)]
    parts += ["", *map(Text, report.notes())]
    parts += [warning_line(each) for each in report.warnings]
    return parts


def warning_line(text: str) -> Text:
    """Return a warning with its first word in colour."""
    return Text.assemble(("warning: ", "yellow"), text)


def table(*titles: str, left: int = 1) -> Table:
    """Return an empty table: the first columns flush left, the others flush right."""
    found = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for place, title in enumerate(titles):
        found.add_column(title, justify="left" if place < left else "right", no_wrap=place >= left)
    return found


def _result_table(report: Report) -> Table:
    tested = report.profile.tested()
    rows = tested.rows - tested.unjudged_rows
    kind = f"texts, {report.folds} folds" if report.is_cross_validated else "test texts"
    found = table(f"on {rows:,} {kind}", *COMPARED.values())
    for name, metrics in reversed(report.test.items()):
        if name == SVM_ROW or metrics is report.metrics or SVM_ROW not in report.test:
            cells = [f"{metrics[key]:.3f}" if key in metrics else "-" for key in COMPARED]
            own = metrics is report.metrics
            found.add_row("this model" if own else name, *cells, style="bold" if own else "")
    if report.differences:
        found.add_row("difference", *map(_difference_cell, _compared(report.differences)))
        if any(each.ends for each in report.differences.values()):
            found.add_row("95 % interval", *map(_interval_cell, _compared(report.differences)))
    return found


def _compared(differences: Mapping[str, Difference]) -> list[Difference | None]:
    return [differences.get(key) for key in COMPARED]


def _difference_cell(each: Difference | None) -> Text:
    if each is None:
        return Text("-")
    return Text(f"{each.difference:+.3f}", style=STYLES[each.relation])


def _interval_cell(each: Difference | None) -> Text:
    if each is None or each.ends is None:
        return Text("-")
    low, high = each.ends
    return Text(f"{low:+.2f} to {high:+.2f}", style="dim")


def _summary(differences: Mapping[str, Difference], rows: int) -> list[RenderableType]:
    """Return one sentence on the differences from the SVM, and the metrics without an interval."""
    groups: dict[Relation, list[str]] = {
        relation: [
            title
            for key, title in COMPARED.items()
            if key in differences and differences[key].relation == relation
        ]
        for relation in RELATIONS
    }
    used = {relation: titles for relation, titles in groups.items() if titles}
    reasons = sorted({each.missing for each in differences.values() if each.missing})
    if not used:
        unclear = Text(f"No clear difference from {SVM_ROW}", style="yellow")
        return ["", unclear.append(f": {'; '.join(reasons)}.", style="default")] * bool(reasons)
    line = Text()
    for relation, titles in used.items():
        words = f", {relation}" if line else f"{RELATIONS[relation].capitalize()} {SVM_ROW}"
        line.append(words, style=STYLES[relation]).append(f" in {join_names(titles)}")
    line.append(".")
    half = max(map(_half_width, differences.values()))
    if "level" in used and half > WIDE_INTERVAL:
        line.append(f" {rows:,} test texts do not show differences below {half:.2f}.")
    parts: list[RenderableType] = ["", line]
    for reason in reasons:
        titles = [COMPARED[key] for key, each in differences.items() if each.missing == reason]
        parts.append(Text(f"{join_names(titles)}: no interval, {reason}", style="dim"))
    return parts


def _half_width(each: Difference) -> float:
    """Return half the width of an interval around zero; 0 for another one."""
    low, high = each.ends or (0.0, 0.0)
    return (high - low) / 2 if each.relation == "level" else 0.0


def join_names(names: Sequence[str]) -> str:
    """Return names in words.

    Example:
        >>> join_names(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _weak_table(labels: Sequence[WeakLabel], *, ascii_only: bool) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    found.add_column("weakest labels", max_width=MAX_LABEL_WIDTH, no_wrap=True)
    found.add_column("F1", justify="right", no_wrap=True)
    found.add_column("", no_wrap=True)
    found.add_column("why")
    full, empty = "#-" if ascii_only else "█░"
    for each in labels:
        filled = round(BAR_CELLS * each.f1)
        style = "red" if each.f1 < 0.5 else "yellow"
        bar = Text(full * filled, style=style).append(empty * (BAR_CELLS - filled), style="dim")
        name = " ".join(each.label.split())  # a label may hold a line break
        found.add_row(Text(name), f"{each.f1:.2f}", bar, Text(each.reason))
    return found
