"""report.html: what a model does well and badly, on one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from zlpr_hf.files.atomic import write_whole
from zlpr_hf.labels import known_mask
from zlpr_hf.losses.zlpr import zlpr_loss
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.multi_label import LIMITS
from zlpr_hf.reports.figures import (
    draw_moved_threshold,
    draw_pairs,
    draw_precision_recall,
    draw_reliability,
    find_gaps,
)
from zlpr_hf.reports.report import COLUMNS, MODEL_ROW, Report
from zlpr_hf.reports.svg import render_bars
from zlpr_hf.thresholds import compute_scores, decide

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

MAX_BARS = 30
MAX_LABELS = 100
MAX_MISTAKES = 10
MAX_MARKS = 15
RARE = 20
MAX_TEASER_LENGTH = 400
MAX_TEXT_LENGTH = 4000
"""Characters of a text that are shown at once, and that are in the page at all."""
MAX_WORD_LENGTH = 40


def save_html_report(
    path: Path,
    report: Report,
    logits: Any,
    targets: Any,
    texts: Sequence[tuple[str, ...]],
    *,
    names: Sequence[str],
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The file.
        report: As for :func:`render_html_report`, and so are the others.
        logits: Test logits.
        targets: Their targets.
        texts: Their texts.
        names: The labels.
    """
    write_whole(path, render_html_report(report, logits, targets, texts, names=names))


def render_html_report(
    report: Report,
    logits: Any,
    targets: Any,
    texts: Sequence[tuple[str, ...]],
    *,
    names: Sequence[str],
) -> str:
    """Write a page about a run: numbers, curves, and the worst mistakes with their texts.

    Args:
        report: The numbers of the run.
        logits: Test logits of the saved model; a label is predicted above zero.
        targets: Test targets; ``-100`` or NaN where not known.
        texts: Test texts, one or two a row. Some of them become part of the page.
        names: Label names in the order of the columns.

    Shape:
        logits, targets: ``(N, L)``.

    Returns:
        HTML without scripts and without anything to load.
    """
    scores = np.clip(np.asarray(logits, dtype=np.float32), *LIMITS)
    truth = np.asarray(targets, dtype=np.float32)
    known: Bools = known_mask(truth)
    present = known & (truth >= 0.5)
    predicted = known & decide(scores)
    frequent = sorted(report.label_scores, key=lambda each: -each.support)
    environment = Environment(
        loader=PackageLoader("zlpr_hf", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bars = [(each.label, each.f1) for each in frequent[:MAX_BARS]]
    profile = report.profile
    counts = profile.splits["train"].label_counts
    page: str = environment.get_template("report.html.jinja").render(
        report=report,
        name=Path(report.output_dir).name or "model",
        model_row=MODEL_ROW,
        columns=COLUMNS,
        intervals=compute_intervals(scores, truth),
        # Below the table of splits: what is rare, missing, not known or in more than one split.
        data_notes=profile.render().splitlines()[1 + len(profile.splits) :],
        labels=frequent[:MAX_LABELS],
        # The charts escape what is in them.
        bars=Markup(render_bars("F1 of the labels", bars)),
        bar_count=len(bars),
        curves=Markup(draw_precision_recall(report, scores, present, known)),
        reliability=Markup(draw_reliability(scores, truth, known)),
        moved=Markup(draw_moved_threshold(scores, present, known)),
        pairs=[Markup(chart) for chart in draw_pairs(names, present, predicted)],
        gaps=find_gaps(names, present, predicted),
        mistakes=_find_mistakes(scores, truth, present, predicted, texts, names),
        never=[each.label for each in frequent if each.support and not each.predicted],
        untested=[each.label for each in frequent if not each.support],
        rare=[label for label, count in counts.items() if count < RARE],
        rare_below=RARE,
        longest=MAX_TEXT_LENGTH,
        most_marks=MAX_MARKS,
        empty_truth=float((~present.any(1)).mean()),
    )
    return page


def _find_mistakes(
    scores: Floats,
    truth: Floats,
    present: Bools,
    predicted: Bools,
    texts: Sequence[tuple[str, ...]],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Rows with a wrong decision, those first that the loss finds worst."""
    losses = zlpr_loss(torch.tensor(scores), torch.tensor(truth), reduction="none").numpy()
    wrong = np.flatnonzero((present != predicted).any(1))
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:MAX_MISTAKES]
    found = []
    for row in worst.tolist():
        sets = {
            "right": present[row] & predicted[row],
            "wrong": ~present[row] & predicted[row],
            "missed": present[row] & ~predicted[row],
        }
        found.append(
            {
                "row": row,
                "loss": float(losses[row]),
                "texts": [_shorten(text) for text in texts[row]],
                "labels": [
                    (mark, names[label], float(compute_scores(scores[row, label])))
                    for mark, cells in sets.items()
                    for label in np.argsort(-scores[row], kind="stable").tolist()
                    if cells[label]
                ],
            }
        )
    return found


def _shorten(text: str) -> dict[str, Any]:
    """What is seen at once, cut between words where there are any, and the rest."""
    cut = len(text)
    if cut > MAX_TEASER_LENGTH:
        cut = (
            text.rfind(" ", MAX_TEASER_LENGTH - MAX_WORD_LENGTH, MAX_TEASER_LENGTH) + 1
            or MAX_TEASER_LENGTH
        )
    return {"head": text[:cut], "rest": text[cut:MAX_TEXT_LENGTH], "length": len(text)}
