"""report.html: strengths and mistakes of a model, on one page that loads no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zlpr_hf.labels import known_mask
from zlpr_hf.losses.zlpr import zlpr_loss
from zlpr_hf.metrics.bootstrap import compute_intervals, explain_missing
from zlpr_hf.metrics.multi_label import LIMITS
from zlpr_hf.reports.figures import (
    find_pairs,
    plot_reliability,
    plot_thresholds,
)
from zlpr_hf.reports.report import COLUMNS, METRIC_TITLES, MODEL_ROW, Report
from zlpr_hf.reports.svg import html_environment
from zlpr_hf.thresholds import compute_scores, decide

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

MAX_BARS = 30
MAX_LABELS = 100
MAX_MISTAKES = 10
MAX_TEASER_LENGTH, MAX_TEXT_LENGTH = 400, 4000
"""Characters of a text that are shown at once, and that are in the page at all."""
MAX_WORD_LENGTH = 40


class Text(NamedTuple):
    """A text of the page: its visible beginning, the rest, and its whole length."""

    head: str
    rest: str
    length: int


class Mark(NamedTuple):
    """A label of a mistake: ``right``, ``wrong`` or ``missed``."""

    kind: str
    label: str
    score: float


class Mistake(NamedTuple):
    """A test row with a wrong decision."""

    row: int
    loss: float
    texts: list[Text]
    marks: list[Mark]


def render_html_report(
    report: Report,
    logits: Any,
    targets: Any,
    texts: Sequence[tuple[str, ...]],
    *,
    names: Sequence[str],
) -> str:
    """Return a page about a run: metrics, curves, and the worst mistakes with their texts."""
    scores = np.clip(np.asarray(logits, dtype=np.float32), *LIMITS)
    truth = np.asarray(targets, dtype=np.float32)
    known: Bools = known_mask(truth)
    present = known & (truth >= 0.5)
    predicted = known & decide(scores)
    page: str = (
        html_environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            name=Path(report.output_dir).name or "model",
            model_row=MODEL_ROW,
            columns=COLUMNS,
            titles=METRIC_TITLES,
            intervals=compute_intervals(scores, truth),
            missing_intervals=explain_missing(predicted, truth),
            labels=report.most_frequent(MAX_LABELS),
            rows=[(each.label, each.f1) for each in report.most_frequent(MAX_BARS)],
            reliability=plot_reliability(scores, truth, known),
            thresholds=plot_thresholds(scores, present, known),
            pairs=find_pairs(names, present, predicted),
            mistakes=_find_mistakes(scores, truth, present, predicted, texts, names),
            max_text_length=MAX_TEXT_LENGTH,
            any_known=bool(known.any()),
            empty_truth=_share_of_empty_rows(known, present),
        )
    )
    return page


def _share_of_empty_rows(known: Bools, present: Bools) -> float:
    """Return the share of rows without a label, among the rows with a known label."""
    judged = int(known.any(1).sum())
    return int((known & ~present).all(1).sum()) / judged if judged else 0.0


def _find_mistakes(
    scores: Floats,
    truth: Floats,
    present: Bools,
    predicted: Bools,
    texts: Sequence[tuple[str, ...]],
    names: Sequence[str],
) -> list[Mistake]:
    """Return the rows with a wrong decision, those with the largest ZLPR loss first."""
    losses = zlpr_loss(torch.tensor(scores), torch.tensor(truth), reduction="none").numpy()
    wrong = np.flatnonzero((present != predicted).any(1))
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:MAX_MISTAKES]
    return [
        Mistake(
            row,
            float(losses[row]),
            [_shorten(text) for text in texts[row]],
            _mark_labels(scores[row], present[row], predicted[row], names),
        )
        for row in worst.tolist()
    ]


def _mark_labels(
    scores: Floats, present: Bools, predicted: Bools, names: Sequence[str]
) -> list[Mark]:
    kinds = {
        "right": present & predicted,
        "wrong": ~present & predicted,
        "missed": present & ~predicted,
    }
    order = np.argsort(-scores, kind="stable").tolist()
    shown = compute_scores(scores).tolist()
    return [
        Mark(kind, names[label], shown[label])
        for kind, cells in kinds.items()
        for label in order
        if cells[label]
    ]


def _shorten(text: str) -> Text:
    """Cut a text, between words if it has any."""
    cut = len(text)
    if cut > MAX_TEASER_LENGTH:
        space = text.rfind(" ", MAX_TEASER_LENGTH - MAX_WORD_LENGTH, MAX_TEASER_LENGTH)
        cut = space + 1 or MAX_TEASER_LENGTH
    return Text(text[:cut], text[cut:MAX_TEXT_LENGTH], len(text))
