"""The audit of a data set: suspect cells, counts per label, and one page to go through them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from zlpr_hf.data.formats import FORMULA
from zlpr_hf.files.atomic import write_json, write_whole
from zlpr_hf.metrics.paired_bootstrap import PAIRED_METRICS, Difference
from zlpr_hf.reports.label_details import shorten_text
from zlpr_hf.reports.report import METRIC_TITLES, align_columns
from zlpr_hf.reports.svg import html_environment

SUSPECTS_FILE, PAGE_FILE, AUDIT_FILE = "suspects.csv", "audit.html", "audit.json"
CSV_COLUMNS = ("file", "line", "text", "label", "kind", "score", "probability", "why")
SHOWN_LABELS, SHOWN_CELLS = 12, 3
MAX_PAGE_CELLS = 20
"""Cells per label and kind on the page; the file lists all."""
MAX_PAGE_PAIRS = 50
MAX_NAME, TEASER, LINE = 20, 40, 80

Kind = Literal["missing", "superfluous"]


@dataclass(frozen=True)
class Suspect:
    """A cell that may be wrong.

    Args:
        file: File or data set of the row.
        line: Line in the file, or number of the row in formats without lines.
        row: Row of the training split, from 0.
        text: The text; both texts of a pair.
        label: Name of the label.
        kind: ``missing`` if the tag is absent, ``superfluous`` if it is there.
        score: Number from 0 to 1 that orders the cells, the most suspect ones highest.
        probability: Estimated probability that the cell is wrong.
        why: The reason in words.
        masked: Whether a masked copy leaves the cell out.
    """

    file: str
    line: int
    row: int
    text: str
    label: str
    kind: Kind
    score: float
    probability: float
    why: str
    masked: bool = False


@dataclass(frozen=True)
class LabelAudit:
    """One label: its tags, the listed cells, and the estimated number of wrong ones."""

    label: str
    tags: int
    missing: int
    missing_estimate: float
    superfluous: int
    superfluous_estimate: float


@dataclass(frozen=True)
class DuplicatePair:
    """Two rows with almost the same text and different tags: their places, and the labels."""

    places: tuple[str, str]
    texts: tuple[str, str]
    similarity: float
    labels: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class RaterCell:
    """A cell on which raters disagree: how many of them gave the tag."""

    place: str
    text: str
    label: str
    yes: int
    total: int


@dataclass(frozen=True)
class Audit:
    """All findings of an audit of the training rows of a run."""

    run: str
    rows: int
    cells: int
    folds: int
    suspects: list[Suspect]
    labels: list[LabelAudit]
    duplicates: list[DuplicatePair] = field(default_factory=list)
    rater_cells: list[RaterCell] = field(default_factory=list)
    raters: dict[str, float] = field(default_factory=dict)
    masked_copy: str | None = None
    retrained: str | None = None
    differences: dict[str, Difference] = field(default_factory=dict)
    has_test_rows: bool = True

    @property
    def estimate(self) -> dict[Kind, float]:
        """Estimated number of wrong cells of each kind."""
        return {
            "missing": sum(each.missing_estimate for each in self.labels),
            "superfluous": sum(each.superfluous_estimate for each in self.labels),
        }

    @property
    def masked(self) -> int:
        """Number of cells that a masked copy leaves out."""
        return sum(each.masked for each in self.suspects)

    def of_kind(self, label: str, kind: Kind) -> list[Suspect]:
        """Return the suspects of a label, the most likely ones first."""
        return [each for each in self.suspects if (each.label, each.kind) == (label, kind)]

    def save(self, folder: Path) -> None:
        """Write ``suspects.csv``, ``audit.html`` and, last, ``audit.json``."""
        write_whole(folder / SUSPECTS_FILE, render_csv(self.suspects))
        write_whole(folder / PAGE_FILE, render_page(self))
        content = asdict(self)
        del content["suspects"]  # they are in the other file, with their texts
        content["duplicates"] = [
            {key: value for key, value in asdict(each).items() if key != "texts"}
            for each in self.duplicates
        ]
        content["rater_cells"] = len(self.rater_cells)
        content |= {"suspects": len(self.suspects), "masked": self.masked}
        write_json(folder / AUDIT_FILE, content | {"estimate": self.estimate})

    def render(self, folder: Path) -> str:
        """Return the summary for a terminal of 80 columns."""
        lines = [f"{self.run}: {self.rows:,} texts, {self.cells:,} known cells", ""]
        lines += [self._render_labels(), "", *self._render_examples()]
        estimate = self.estimate
        lines.append(
            f"about {sum(estimate.values()):.0f} wrong cells: {estimate['missing']:.0f} missing "
            f"tags, {estimate['superfluous']:.0f} superfluous ones"
        )
        if self.duplicates:
            lines.append(f"near-duplicates with different labels: {len(self.duplicates):,} pairs")
        if self.rater_cells:
            lines.append(f"cells on which raters differ: {len(self.rater_cells):,}")
        lines.append(
            f"written to {folder}: {SUSPECTS_FILE} ({len(self.suspects):,} cells), {PAGE_FILE}"
        )
        if self.masked_copy is not None:
            lines.append(f"masked copy ({self.masked:,} cells unknown): {self.masked_copy}")
        if self.differences:
            lines += ["", self._render_differences()]
        return "\n".join(lines)

    def _render_labels(self) -> str:
        rows = [["label", "tags", "missing", "about", "superfluous", "about"]]
        shown = self.labels[:SHOWN_LABELS]
        for each in shown:
            counts = (
                f"{each.tags:,}", f"{each.missing:,}", f"{each.missing_estimate:.0f}",
                f"{each.superfluous:,}", f"{each.superfluous_estimate:.0f}",
            )  # fmt: skip
            rows.append([shorten_text(each.label, MAX_NAME), *counts])
        table = align_columns(rows)
        rest = len(self.labels) - len(shown)
        return table + (f"\n... and {rest} more labels" if rest else "")

    def _render_examples(self) -> list[str]:
        lines = []
        for kind in ("missing", "superfluous"):
            cells = [each for each in self.suspects if each.kind == kind][:SHOWN_CELLS]
            if not cells:
                continue
            lines.append(f"{kind} tags, the most likely ones:")
            for each in cells:
                place = f"{each.file}:{each.line}"
                place = place if len(place) <= MAX_NAME else f"…{place[1 - MAX_NAME :]}"
                label = shorten_text(each.label, MAX_NAME)
                start = f"  {each.score:.2f}  {place}  {label}  "
                lines.append(start + shorten_text(each.text, max(LINE - len(start) - 1, 10)))
            lines.append("")
        return lines

    def _render_differences(self) -> str:
        compared = "test rows" if self.has_test_rows else "out-of-fold rows"
        rows = [[f"masked minus original, same {compared}", "difference", "95 % interval"]]
        for name in PAIRED_METRICS:
            each = self.differences[name]
            between = each.missing or f"{each.low:+.3f} to {each.high:+.3f}"
            rows.append([METRIC_TITLES[name], f"{each.difference:+.3f}", between])
        return align_columns(rows)


def render_csv(suspects: Sequence[Suspect]) -> str:
    """Return the suspects as CSV; cells that a spreadsheet might run begin with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for each in suspects:
        cells: tuple[Any, ...] = (
            each.file, each.line, each.text, each.label, each.kind,
            f"{each.score:.4f}", f"{each.probability:.4f}", each.why,
        )  # fmt: skip
        writer.writerow([_safe(cell) for cell in cells])
    return stream.getvalue()


def _safe(cell: Any) -> Any:
    """Return a cell that no spreadsheet runs as a formula; NUL bytes and half characters go."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def render_page(audit: Audit) -> str:
    """Return a page that loads no other file: per label the cells to look at, with their texts."""
    shown = [
        (each, audit.of_kind(each.label, "missing"), audit.of_kind(each.label, "superfluous"))
        for each in audit.labels
        if each.missing or each.superfluous
    ]
    page: str = (
        html_environment()
        .get_template("audit.html.jinja")
        .render(audit=audit, shown=shown, limit=MAX_PAGE_CELLS, pairs=MAX_PAGE_PAIRS)
    )
    return page
